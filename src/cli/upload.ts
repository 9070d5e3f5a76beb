/** `ol upload`: checks a lambda's code and makes it the current version in the cluster's registry. */

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { defineCommand } from "citty";
import { errnoNameOf, OlError, toOlError } from "../common/errors.ts";
import { S3_MULTIPART_FROM_BYTES } from "../common/limits.ts";
import { requireLambdaName } from "../common/names.ts";
import type { Registry, RegistryWriter } from "../registry/contract.ts";
import { packBundle } from "../registry/pack.ts";
import { checkBundle } from "../registry/validate.ts";
import { usageError } from "./args.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf } from "./options.ts";
import { openNotes, print, printError, printJson } from "./output.ts";
import { openTemplateRegistry } from "./registry-of.ts";
import { ACCESS_KEY_ARG, givenKeys, SECRET_KEY_ARG, SECRET_KEY_HELP } from "./secrets.ts";
import { watchAndUpload } from "./upload-watch.ts";

const BUNDLE_SUFFIX = /\.(?:tar\.gz|tgz)$/;

/** What one upload did. */
interface Uploaded {
  readonly lambda: string;
  readonly version: string;
  readonly sizeBytes: number;
  readonly files: number;
  readonly registry: string;
  readonly syntaxChecked: boolean;
  /** Where a directory that was in the way is now. */
  readonly keptDir?: string;
}

interface Job {
  readonly source: string;
  readonly name: string;
  /** The registry, for people. */
  readonly where: string;
  readonly registry: Registry & RegistryWriter;
}

/** Bundles take seconds from this size on; a terminal is told how far it is. */
function showProgress(totalBytes: number): ((sentBytes: number) => void) | undefined {
  if (!process.stderr.isTTY || totalBytes < S3_MULTIPART_FROM_BYTES) return undefined;
  let shown = -1;
  return (sentBytes) => {
    const percent = Math.floor((sentBytes / totalBytes) * 100);
    if (percent === shown) return;
    shown = percent;
    printError(`\rUploading ${percent} %${percent === 100 ? "\n" : ""}`);
  };
}

async function uploadOnce(job: Job): Promise<Uploaded> {
  const stage = mkdtempSync(join(tmpdir(), "ol-upload-"));
  try {
    const isDirectory = statSync(job.source).isDirectory();
    const bundle = isDirectory ? join(stage, "bundle.tar.gz") : job.source;
    if (isDirectory) await packBundle(job.source, bundle);
    const check = await checkBundle(bundle);
    const { size } = statSync(bundle);
    const version = await job.registry.put(job.name, bundle, showProgress(size));
    return {
      lambda: job.name,
      version: version.id,
      sizeBytes: size,
      files: check.files,
      registry: job.where,
      syntaxChecked: check.syntaxChecked,
      ...(version.keptDir === undefined ? {} : { keptDir: version.keptDir }),
    };
  } catch (error) {
    throw inPlace(error, job);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** The registry's own messages name no address, since a worker passes them on to its clients. */
function inPlace(error: unknown, job: Job): OlError {
  const known = toOlError(error);
  const where = known.code === "bundle_invalid" ? job.source : `registry ${job.where}`;
  return new OlError(known.code, `${known.message} (${where})`, {
    op: known.op ?? "cli.upload",
    details: known.details,
    cause: error,
    retryable: known.retryable,
  });
}

function tell(uploaded: Uploaded, json: boolean, cluster: string): void {
  if (json) return printJson(uploaded);
  const { lambda, version, sizeBytes, files, registry } = uploaded;
  print(
    `Uploaded ${lambda} to ${registry}: ${files} files, ${sizeBytes} bytes, version ${version}\n`,
  );
  print(`Call it with: ol invoke --cluster=${cluster} ${lambda} '{}'\n`);
}

export default defineCommand({
  meta: {
    description:
      "Checks a lambda's code (a .tar.gz with lambda_func.py at its top, or a directory, which is packed)\n" +
      "and makes it the current version in the cluster's registry. Workers follow within\n" +
      "registry_cache_ms.",
  },
  args: {
    cluster: CLUSTER_ARG,
    handler: {
      type: "string",
      valueHint: "NAME",
      description: "Name of the lambda; default: that of the file or directory",
    },
    file: { type: "string", valueHint: "TAR", description: "The .tar.gz, or a directory" },
    watch: {
      type: "string",
      valueHint: "DIR",
      description: "Upload this directory now and at each change, until ctrl-C",
    },
    "access-key": {
      ...ACCESS_KEY_ARG,
      description: "Key of a remote registry; default: $OL_ACCESS_KEY, that of the template",
    },
    "secret-key": { ...SECRET_KEY_ARG, description: SECRET_KEY_HELP },
    json: JSON_ARG,
  },
  async run({ args }): Promise<void> {
    const given = args.watch ?? args.file;
    if (given === undefined || (args.watch !== undefined && args.file !== undefined)) {
      throw usageError("Cannot tell what to upload: either --file or --watch is wanted");
    }
    const source = resolve(given);
    const stat = statOf(source);
    if (args.watch !== undefined && !stat.isDirectory()) {
      throw usageError(`Cannot watch ${source}: it is not a directory`);
    }
    const name = args.handler ?? basename(source).replace(BUNDLE_SUFFIX, "");
    requireLambdaName(name);
    const paths = await openClusterOf(args.cluster);
    const { config, registry, where } = openTemplateRegistry(paths, givenKeys(args));
    if (config.kind === "local" && source.startsWith(join(config.dir, "/"))) {
      throw usageError(`Cannot upload ${source}: it lies in the registry already`);
    }
    const job: Job = { source, name, where, registry };
    const notes = await openNotes();
    const upload = async (): Promise<void> => {
      const uploaded = await uploadOnce(job);
      if (!uploaded.syntaxChecked)
        notes.warn("There is no python3 here: the syntax was not checked");
      if (uploaded.keptDir !== undefined) {
        notes.note(`The directory that was ${name} until now is kept as ${uploaded.keptDir}`);
      }
      tell(uploaded, args.json === true, paths.root);
    };
    await (args.watch === undefined ? upload() : watchAndUpload(source, upload));
  },
});

function statOf(path: string): ReturnType<typeof statSync> & { isDirectory(): boolean } {
  try {
    return statSync(path);
  } catch (error) {
    const why = errnoNameOf(error) ?? String(error);
    throw usageError(`Cannot upload ${path}: ${why}, wanted a .tar.gz or a directory`);
  }
}

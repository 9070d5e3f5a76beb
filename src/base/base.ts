/**
 * Makes a cluster's base, the root file system of all its lambdas (DESIGN 4.2). It is put together
 * beside its final place and renamed when it is whole, so there is never half a base.
 */

import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { OlError, errnoNameOf } from "../common/errors.ts";
import { copyDirectory } from "./directory-source.ts";
import { writeHostSkeleton, writeNetworkFiles } from "./host-source.ts";
import {
  type BaseBind,
  type BaseKind,
  MOUNT_POINTS,
  baseRootDir,
  writeBaseManifest,
} from "./manifest.ts";
import { checkPython } from "./python-check.ts";
import { RootWriter } from "./root-writer.ts";
import { unpackTarFile } from "./tar-source.ts";

export { type BaseBind, readBaseManifest } from "./manifest.ts";

/** What `createBase` is asked for. */
export interface CreateBaseOptions {
  /** `host`, `dir:DIR`, `tar:FILE` or `docker:IMAGE`. */
  readonly spec: string;
  /** The base dir to make; absent, or an empty directory. */
  readonly dir: string;
  /** Where the base is to lie in the end, if not in `dir`: marks what Docker holds meanwhile. */
  readonly finalDir?: string;
  /** Where the Docker daemon listens, for `docker:`; default: what `DOCKER_HOST` says. */
  readonly docker?: { readonly socket: string };
  /** Gets one line at a time of what is going on; for people. */
  readonly onProgress?: (text: string) => void;
  /** Gives up and removes what was made so far. */
  readonly signal?: AbortSignal;
}

/** A parsed `--base`. */
export interface BaseSpec {
  readonly kind: BaseKind;
  /** What follows the colon; empty for `host`. */
  readonly source: string;
}

/**
 * @param spec argument of `--base`
 * @returns its parts
 * @throws {OlError} usage where it is none of the four forms
 */
export function parseBaseSpec(spec: string): BaseSpec {
  if (spec === "host") return { kind: "host", source: "" };
  const [, kind, source] = /^(dir|tar|docker):(.+)$/su.exec(spec) ?? [];
  if (kind === undefined || source === undefined || source.includes("\0")) {
    throw new OlError(
      "usage",
      `Cannot make a base from ${JSON.stringify(spec)}: wanted host, dir:DIR, tar:FILE or docker:IMAGE`,
      { op: "base.create" },
    );
  }
  return { kind: kind as BaseKind, source };
}

/**
 * Makes a base.
 * @param options what from, where to, who hears of the progress
 * @throws {OlError} usage, base_invalid, docker_unavailable; the abort reason where `signal` fired
 */
export async function createBase(options: CreateBaseOptions): Promise<void> {
  const spec = parseBaseSpec(options.spec);
  const dir = resolve(options.dir);
  if (existsSync(dir) && readdirSync(dir).length > 0) {
    throw invalid(options.spec, `${JSON.stringify(dir)} exists and is not empty`);
  }
  removeAbandoned(dir);
  const staging = join(dirname(dir), `${stagingPrefix(dir)}${process.pid}-${randomHex()}`);
  try {
    mkdirSync(staging, { mode: 0o700 });
    const root = baseRootDir(staging);
    mkdirSync(root);
    chmodSync(root, 0o755);
    const writer = new RootWriter(root, options.spec);
    const binds = await fill(spec, writer, options);
    makeMountPoints(writer);
    options.onProgress?.("Checking the Python of the base");
    const python = await checkPython(root, binds, spec.kind);
    options.signal?.throwIfAborted();
    const id = Bun.randomUUIDv7();
    writeBaseManifest(staging, { id, kind: spec.kind, spec: options.spec, binds, ...python });
    renameSync(staging, dir);
  } catch (error) {
    rmSync(staging, { recursive: true, force: true });
    options.signal?.throwIfAborted();
    if (error instanceof OlError) throw error;
    throw invalid(options.spec, error instanceof Error ? error.message : String(error), error);
  }
}

/** Puts the contents in place. */
async function fill(
  { kind, source }: BaseSpec,
  writer: RootWriter,
  options: CreateBaseOptions,
): Promise<BaseBind[]> {
  switch (kind) {
    case "host":
      return writeHostSkeleton(writer);
    case "dir":
      options.onProgress?.(`Copying ${source}`);
      await copyDirectory(source, writer, options.signal);
      break;
    case "tar":
      options.onProgress?.(`Unpacking ${source}`);
      await unpackTarFile(source, writer, options.signal);
      break;
    case "docker": {
      // The Docker client is heavy; no other kind of base pays for loading it.
      const { dumpDockerImage } = await import("./docker-source.ts");
      const { defaultDockerSocket } = await import("./docker-client.ts");
      await dumpDockerImage({
        image: source,
        writer,
        owner: resolve(options.finalDir ?? options.dir),
        socket: options.docker?.socket ?? defaultDockerSocket(),
        onProgress: options.onProgress ?? (() => undefined),
        signal: options.signal,
      });
      break;
    }
  }
  writeNetworkFiles(writer);
  return [];
}

/** An image may have a link or a file where a sandbox needs a directory; it is replaced. */
function makeMountPoints(writer: RootWriter): void {
  for (const name of MOUNT_POINTS) {
    writer.realDirectory(name, name === "tmp" ? 0o1777 : 0o755);
  }
}

const stagingPrefix = (dir: string): string => `.${basename(dir)}.partial-`;

const randomHex = (): string => randomBytes(6).toString("hex");

/** Removes what earlier attempts left behind when they were killed. */
function removeAbandoned(dir: string): void {
  const prefix = stagingPrefix(dir);
  let names: string[];
  try {
    names = readdirSync(dirname(dir));
  } catch (error) {
    if (errnoNameOf(error) === "ENOENT") return;
    throw error;
  }
  for (const name of names.filter((it) => it.startsWith(prefix))) {
    const pid = name.slice(prefix.length).split("-")[0] ?? "";
    if (!existsSync(`/proc/${pid}`)) {
      rmSync(join(dirname(dir), name), { recursive: true, force: true });
    }
  }
}

function invalid(spec: string, state: string, cause?: unknown): OlError {
  return new OlError("base_invalid", `Cannot make a base from ${JSON.stringify(spec)}: ${state}`, {
    op: "base.create",
    ...(cause === undefined ? {} : { cause }),
  });
}

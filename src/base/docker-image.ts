/**
 * Makes Docker images for lambdas: from a Dockerfile, or, where no registry can be reached, from a
 * base that is there already.
 */

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import type Docker from "dockerode";
import { OlError } from "../common/errors.ts";
import { dockerError } from "./docker-error.ts";
import type { BaseManifest } from "./manifest.ts";

/** Label with the id of the base that an image was imported from. */
const BASE_LABEL = "openlambda.base";

const PACK = "tar --create --numeric-owner --warning=no-file-ignored --mode=u-s,g-s".split(" ");

/** What `importBase` is asked for. */
export interface ImportOptions {
  readonly manifest: BaseManifest;
  /** Name with tag. */
  readonly image: string;
  /** Whether to copy what the base binds from the host as well, for an image that stands alone. */
  readonly whole: boolean;
}

/**
 * Makes an image from a base.
 * @param docker connection
 * @param socket for messages
 * @throws {OlError} docker_unavailable, engine_unavailable, base_invalid
 */
export async function importBase(
  docker: Docker,
  socket: string,
  { manifest, image, whole }: ImportOptions,
): Promise<void> {
  const bound = whole ? manifest.binds.map((it) => it.source.replace(/^\/+/u, "")) : [];
  const tar = Bun.spawn({
    cmd: [
      ...PACK,
      "--directory",
      manifest.root,
      ".",
      ...(bound.length === 0 ? [] : ["--directory", "/", ...bound]),
    ],
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const words = new Response(tar.stderr).text();
  const colon = image.lastIndexOf(":");
  try {
    const stream = await docker.importImage(Readable.from(tar.stdout), {
      repo: image.slice(0, colon),
      tag: image.slice(colon + 1),
      changes: [`LABEL ${BASE_LABEL}=${manifest.id}`],
    });
    await followProgress(docker, stream, () => undefined);
  } catch (cause) {
    tar.kill("SIGKILL");
    throw dockerError(cause, socket, `import the base as ${image}`);
  }
  if ((await tar.exited) !== 0) {
    await docker.getImage(image).remove({ force: true });
    throw new OlError(
      "base_invalid",
      `Cannot import the base as ${image}: ${(await words).trim()}`,
      {
        op: "base.image",
      },
    );
  }
}

/** What `buildImage` is asked for. */
export interface BuildOptions {
  /** A Dockerfile of the host, whose directory is the context; or its text, without a context. */
  readonly dockerfile: { readonly path: string } | { readonly text: string };
  /** Name with tag. */
  readonly image: string;
  readonly onProgress: (text: string) => void;
}

/**
 * Builds an image.
 * @param docker connection
 * @param socket for messages
 * @throws {OlError} docker_unavailable, engine_unavailable, base_invalid with the builder's words
 */
export async function buildImage(
  docker: Docker,
  socket: string,
  { dockerfile, image, onProgress }: BuildOptions,
): Promise<void> {
  const scratch = "text" in dockerfile ? mkdtempSync(join(tmpdir(), "openlambda-image-")) : null;
  try {
    if (scratch !== null && "text" in dockerfile) {
      writeFileSync(join(scratch, "Dockerfile"), dockerfile.text);
    }
    const file =
      "path" in dockerfile ? resolve(dockerfile.path) : join(scratch ?? "", "Dockerfile");
    const context = dirname(file);
    const stream = await docker.buildImage(
      { context, src: readdirSync(context) },
      { t: image, dockerfile: basename(file), forcerm: true },
    );
    await followProgress(docker, stream, onProgress);
  } catch (cause) {
    if (cause instanceof BuildFailure || isMissingFile(cause)) {
      throw new OlError("base_invalid", `Cannot build the image ${image}: ${cause.message}`, {
        op: "base.image",
        cause,
      });
    }
    throw dockerError(cause, socket, `build the image ${image}`);
  } finally {
    if (scratch !== null) rmSync(scratch, { recursive: true, force: true });
  }
}

/** A step of a build that failed, as opposed to a daemon that cannot be reached. */
class BuildFailure extends Error {
  override readonly name = "BuildFailure";
}

const isMissingFile = (cause: unknown): cause is Error =>
  cause instanceof Error && "path" in cause && "syscall" in cause && cause.syscall !== "connect";

/** One line of what the daemon reports while it works. */
interface ProgressEvent {
  readonly stream?: string;
  readonly status?: string;
  readonly error?: string;
}

/** Waits until the daemon is done; an error arrives as an event of a stream that ends well. */
async function followProgress(
  docker: Docker,
  stream: NodeJS.ReadableStream,
  onProgress: (text: string) => void,
): Promise<void> {
  let failure: string | null = null;
  await new Promise<void>((done, reject) => {
    docker.modem.followProgress(
      stream,
      (error) => {
        if (failure !== null) reject(new BuildFailure(failure));
        else if (error !== null) reject(error);
        else done();
      },
      (event: ProgressEvent) => {
        failure ??= event.error ?? null;
        for (const line of (event.stream ?? "").split("\n")) {
          if (line.trim() !== "") onProgress(line.trimEnd());
        }
      },
    );
  });
}

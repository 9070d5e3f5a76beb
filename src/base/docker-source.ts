/**
 * Dumps the file system of a Docker image: the image is pulled where it is absent, a container is
 * created from it (never started), exported as a tar stream, and removed.
 */

import type Docker from "dockerode";
import { OlError } from "../common/errors.ts";
import { DOCKER_LABELS, connectDocker } from "./docker-client.ts";
import { dockerError, dockerStatus } from "./docker-error.ts";
import type { RootWriter } from "./root-writer.ts";
import { unpackTarStream } from "./tar-source.ts";

/** What `dumpDockerImage` is asked for. */
export interface DumpOptions {
  /** Reference as for `docker run`. */
  readonly image: string;
  readonly writer: RootWriter;
  /** The base that is made, whichever attempt at it this is. */
  readonly owner: string;
  readonly socket: string;
  readonly onProgress: (text: string) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * Writes an image's file system into a base.
 * @param options image, where to, who hears of the progress
 * @throws {OlError} docker_unavailable, base_invalid where the image cannot be had or is not whole
 */
export async function dumpDockerImage(options: DumpOptions): Promise<void> {
  const { image, writer, owner, socket, onProgress, signal } = options;
  const docker = await connectDocker(socket);
  await removeAbandoned(docker, owner);
  await pullIfAbsent(docker, options);
  signal?.throwIfAborted();
  onProgress(`Dumping the image ${image}`);
  let container: Docker.Container | undefined;
  try {
    container = await docker.createContainer({
      Image: image,
      // Never run, but the daemon wants a command and an image may have none.
      Cmd: ["/never-run"],
      Entrypoint: [],
      NetworkDisabled: true,
      Labels: { [DOCKER_LABELS.role]: "base", [DOCKER_LABELS.cluster]: owner },
    });
    const stream = await container.export();
    await unpackTarStream(
      stream as NodeJS.ReadableStream & AsyncIterable<Uint8Array>,
      `docker:${image}`,
      writer,
      signal,
    );
  } catch (cause) {
    signal?.throwIfAborted();
    throw dockerError(cause, socket, `dump the image ${JSON.stringify(image)}`);
  } finally {
    await container?.remove({ force: true, v: true }).catch(ignoreGone);
  }
}

/** One line of the daemon's progress report. */
interface PullEvent {
  readonly id?: string;
  readonly status?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}

async function pullIfAbsent(docker: Docker, options: DumpOptions): Promise<void> {
  const { image, socket, onProgress, signal } = options;
  try {
    await docker.getImage(image).inspect();
    return;
  } catch (cause) {
    if (dockerStatus(cause) !== 404) throw dockerError(cause, socket, "look for the image");
  }
  const reference = hasTag(image) ? image : `${image}:latest`;
  onProgress(`Pulling ${reference}`);
  try {
    const stream = await docker.pull(reference);
    const abort = (): void => {
      (stream as { destroy?: () => void }).destroy?.();
    };
    signal?.addEventListener("abort", abort, { once: true });
    const progress = new PullProgress(onProgress);
    await new Promise<void>((resolve, reject) => {
      docker.modem.followProgress(
        stream,
        (error) => (error === null ? resolve() : reject(error)),
        (event: PullEvent) => progress.take(event),
      );
      signal?.addEventListener("abort", () => reject(new Error("interrupted")), { once: true });
    }).finally(() => signal?.removeEventListener("abort", abort));
  } catch (cause) {
    signal?.throwIfAborted();
    if (dockerStatus(cause) === undefined && !(cause instanceof Error)) throw cause;
    throw new OlError(
      "base_invalid",
      `Cannot pull the image ${JSON.stringify(reference)}: ${cause instanceof Error ? cause.message : String(cause)}, ` +
        "wanted an image that the Docker daemon has or can download",
      { op: "base.create", cause, retryable: true },
    );
  }
}

/** Whether a reference names a tag or digest; a colon before the last slash belongs to a port. */
function hasTag(image: string): boolean {
  return image.includes("@") || image.slice(image.lastIndexOf("/") + 1).includes(":");
}

/** Turns the daemon's many events into one line per layer and tenth of the download. */
class PullProgress {
  readonly #onProgress: (text: string) => void;
  readonly #layers = new Map<string, { current: number; total: number }>();
  #shownTenths = -1;

  constructor(onProgress: (text: string) => void) {
    this.#onProgress = onProgress;
  }

  take(event: PullEvent): void {
    const { id, progressDetail, status } = event;
    if (id === undefined || status !== "Downloading") return;
    this.#layers.set(id, {
      current: progressDetail?.current ?? 0,
      total: progressDetail?.total ?? 0,
    });
    let current = 0;
    let total = 0;
    for (const layer of this.#layers.values()) {
      current += layer.current;
      total += layer.total;
    }
    const tenths = total === 0 ? 0 : Math.floor((current / total) * 10);
    if (tenths === this.#shownTenths) return;
    this.#shownTenths = tenths;
    this.#onProgress(`Pulled ${mib(current)} of ${mib(total)} MiB`);
  }
}

const mib = (bytes: number): string => (bytes / 1024 / 1024).toFixed(0);

/** Removes containers of attempts at this base that were killed. */
async function removeAbandoned(docker: Docker, owner: string): Promise<void> {
  const labels = [`${DOCKER_LABELS.role}=base`, `${DOCKER_LABELS.cluster}=${owner}`];
  const found = await docker.listContainers({ all: true, filters: { label: labels } });
  for (const { Id } of found) {
    await docker.getContainer(Id).remove({ force: true, v: true }).catch(ignoreGone);
  }
}

function ignoreGone(cause: unknown): void {
  const status = dockerStatus(cause);
  if (status !== 404 && status !== 409) throw cause;
}

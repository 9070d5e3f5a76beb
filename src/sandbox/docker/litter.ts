/**
 * Containers that could not be removed. One may still run, so what belongs to it, its user id and its
 * output files, stays with it until Docker says that it is gone.
 */

import type Docker from "dockerode";
import { DOCKER_LITTER_LOOKS, DOCKER_LITTER_RETRY_MS } from "../../common/docker-limits.ts";
import { removeContainer } from "./remove-container.ts";
import type { FirstProcess } from "./first-process.ts";

/** A container that is to go. */
export interface Discarded {
  readonly name: string;
  readonly first: FirstProcess;
  /** Whether Docker has answered that it made it; else it may yet appear. */
  readonly exists: boolean;
  /** Gives back what belonged to it. */
  readonly release: () => void;
}

/** Removes containers, again and again where it has to. */
export class Litter {
  readonly #docker: Docker;
  readonly #socket: string;
  /** With the number of times that Docker did not know it. */
  readonly #entries = new Map<Discarded, number>();
  readonly #timer: ReturnType<typeof setInterval>;
  #retrying: Promise<void> | null = null;

  /**
   * @param docker connection
   * @param socket for messages
   */
  constructor(docker: Docker, socket: string) {
    this.#docker = docker;
    this.#socket = socket;
    this.#timer = setInterval(() => void this.retry(), DOCKER_LITTER_RETRY_MS);
    this.#timer.unref();
  }

  /**
   * Kills and removes a container, now or when the daemon is back; does not throw.
   * @param discarded whose `release` is called when it is gone
   */
  async remove(discarded: Discarded): Promise<void> {
    this.#entries.set(discarded, 0);
    await this.#tryRemove(discarded);
  }

  /** Tries once more to remove what is there. */
  retry(): Promise<void> {
    this.#retrying ??= this.#retry();
    return this.#retrying;
  }

  /** Tries for the last time; what stays is removed by the next worker of the same directory. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.retry();
  }

  async #retry(): Promise<void> {
    await Promise.all([...this.#entries.keys()].map((it) => this.#tryRemove(it)));
    this.#retrying = null;
  }

  async #tryRemove(discarded: Discarded): Promise<void> {
    let wasThere: boolean;
    try {
      wasThere = await removeContainer(this.#docker, this.#socket, discarded.name);
    } catch {
      await discarded.first.kill();
      return;
    }
    const looks = (this.#entries.get(discarded) ?? 0) + 1;
    const isGone = wasThere || discarded.exists || looks >= DOCKER_LITTER_LOOKS;
    if (!isGone) this.#entries.set(discarded, looks);
    // Two tries may overlap; one of them gives back.
    else if (this.#entries.delete(discarded)) discarded.release();
  }
}

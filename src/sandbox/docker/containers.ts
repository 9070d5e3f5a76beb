/** Containers of a cluster as seen from outside a worker: for `ol status` and `ol kill`. */

import type Docker from "dockerode";
import {
  DOCKER_LABELS,
  connectDocker,
  dockerError,
  dockerStatus,
} from "../../base/docker-client.ts";
import {
  DOCKER_REMOVALS_PARALLEL_MAX,
  DOCKER_REMOVE_TIMEOUT_MS,
} from "../../common/docker-limits.ts";
import { OlError } from "../../common/errors.ts";
import { SLOT_LABEL, WORKER_LABEL } from "./container-options.ts";

/** One container, as `ol status` shows it. */
export interface ClusterContainer {
  readonly id: string;
  readonly name: string;
  /** `sandbox` or `installer`. */
  readonly role: string;
  readonly lambda: string;
  readonly image: string;
  /** Docker's word: `running`, `paused`, `exited`, `created` … */
  readonly state: string;
  /** Docker's sentence, such as `Up 3 minutes`. */
  readonly status: string;
}

/**
 * @param socket the Docker daemon's
 * @param cluster the value of the cluster label: what the pool was made with
 * @returns its containers, running or not, oldest first
 * @throws {OlError} docker_unavailable, engine_unavailable
 */
export async function listClusterContainers(
  socket: string,
  cluster: string,
): Promise<ClusterContainer[]> {
  const docker = await connectDocker(socket);
  return listByLabel(docker, socket, `${DOCKER_LABELS.cluster}=${cluster}`);
}

/**
 * Kills and removes every container of a cluster, and waits until they are gone; safe to repeat.
 * @param socket the Docker daemon's
 * @param cluster the value of the cluster label
 * @returns what was removed
 * @throws {OlError} docker_unavailable, engine_unavailable where one cannot be removed
 */
export async function removeClusterContainers(
  socket: string,
  cluster: string,
): Promise<ClusterContainer[]> {
  const docker = await connectDocker(socket);
  return removeByLabel(docker, socket, `${DOCKER_LABELS.cluster}=${cluster}`);
}

/**
 * Removes what workers that died left behind: the one of a directory, and the last holder of a slot,
 * whose containers have the user ids that are given out next.
 * @param docker client of the daemon
 * @param socket the daemon's, for messages
 * @param worker directory and slot, both held by the caller
 * @throws {OlError} docker_unavailable, engine_unavailable
 */
export async function removeWorkerContainers(
  docker: Docker,
  socket: string,
  { workerDir, slot }: { readonly workerDir: string; readonly slot: number },
): Promise<void> {
  await removeByLabel(docker, socket, `${WORKER_LABEL}=${workerDir}`);
  await removeByLabel(docker, socket, `${SLOT_LABEL}=${slot}`);
}

async function listByLabel(
  docker: Docker,
  socket: string,
  label: string,
): Promise<ClusterContainer[]> {
  try {
    const found = await docker.listContainers({ all: true, filters: { label: [label] } });
    return found
      .toSorted((a, b) => a.Created - b.Created)
      .map((it) => ({
        id: it.Id,
        name: (it.Names[0] ?? it.Id).replace(/^\//u, ""),
        role: it.Labels[DOCKER_LABELS.role] ?? "",
        lambda: it.Labels[DOCKER_LABELS.lambda] ?? "",
        image: it.Image,
        state: it.State,
        status: it.Status,
      }));
  } catch (cause) {
    throw dockerError(cause, socket, "list containers");
  }
}

async function removeByLabel(
  docker: Docker,
  socket: string,
  label: string,
): Promise<ClusterContainer[]> {
  const found = await listByLabel(docker, socket, label);
  const queue = [...found];
  const work = async (): Promise<void> => {
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      await removeContainer(docker, socket, next.id);
    }
  };
  await Promise.all(Array.from({ length: DOCKER_REMOVALS_PARALLEL_MAX }, work));
  return found;
}

/**
 * Kills and removes one container and waits until it is gone; fine if it is gone already.
 * @param docker client of the daemon
 * @param socket the daemon's, for messages
 * @param id of the container, or its name
 * @returns false where Docker did not know it
 * @throws {OlError} docker_unavailable, engine_unavailable
 */
export async function removeContainer(
  docker: Docker,
  socket: string,
  id: string,
): Promise<boolean> {
  const container = docker.getContainer(id);
  const deadline = performance.now() + DOCKER_REMOVE_TIMEOUT_MS;
  for (let wasThere = false; ; wasThere = true) {
    try {
      await container.remove({ force: true, v: true });
      return true;
    } catch (cause) {
      const status = dockerStatus(cause);
      if (status === 404) return wasThere;
      // 409: somebody else is removing it; 500: a mount inside is busy for a moment.
      if ((status !== 409 && status !== 500) || performance.now() > deadline) {
        throw dockerError(cause, socket, `remove the container ${id}`);
      }
    }
    await isGone(container, deadline);
  }
}

/** Waits until the daemon has forgotten a container, or a moment has passed. */
async function isGone(container: Docker.Container, deadline: number): Promise<void> {
  const state = await container.inspect().then(
    () => "there",
    (cause: unknown) => (dockerStatus(cause) === 404 ? "gone" : "unknown"),
  );
  if (state === "gone") return;
  if (performance.now() > deadline) {
    throw new OlError(
      "engine_unavailable",
      "Cannot remove a container: Docker does not let go of it",
    );
  }
  await Bun.sleep(50);
}

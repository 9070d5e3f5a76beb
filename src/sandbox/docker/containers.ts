/** Containers of a cluster as seen from outside a worker: for `ol status` and `ol kill`. */

import type Docker from "dockerode";
import { DOCKER_LABELS, connectDocker } from "../../base/docker-client.ts";
import { dockerError } from "../../base/docker-error.ts";
import { DOCKER_REMOVALS_PARALLEL_MAX } from "../../common/docker-limits.ts";
import { removeContainer } from "./remove-container.ts";
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

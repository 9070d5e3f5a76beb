/** Removing one container, which takes Docker a moment and sometimes more than one try. */

import type Docker from "dockerode";
import { dockerError, dockerStatus } from "../../base/docker-error.ts";
import { DOCKER_REMOVE_TIMEOUT_MS } from "../../common/docker-limits.ts";
import { OlError } from "../../common/errors.ts";

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

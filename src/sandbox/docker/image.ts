/**
 * The image that sandboxes run in: the one that the configuration names, or one imported from the
 * cluster's base. Of a `host` base only the skeleton is imported; `/usr` is bound into each
 * container as it is into a SOCK sandbox, so that nothing is copied.
 */

import type Docker from "dockerode";
import { type BaseBind, readBaseManifest } from "../../base/base.ts";
import { dockerError, dockerStatus } from "../../base/docker-error.ts";
import { importBase } from "../../base/docker-image.ts";
import { OlError } from "../../common/errors.ts";

/** What a container needs to know about its image. */
export interface SandboxImage {
  readonly image: string;
  readonly binds: readonly BaseBind[];
  /** Interpreter inside: a path, or a name to be found by the image's PATH. */
  readonly python: string;
}

/** Repository of imported bases; the tag is the base's id. */
const BASE_REPOSITORY = "openlambda/base";

/**
 * @param docker connection
 * @param socket for messages
 * @param baseImage the configured image, or null for the cluster's base
 * @param basePath the cluster's base dir
 * @throws {OlError} base_invalid, docker_unavailable, engine_unavailable
 */
export async function ensureSandboxImage(
  docker: Docker,
  socket: string,
  baseImage: string | null,
  basePath: string,
): Promise<SandboxImage> {
  if (baseImage !== null) {
    if (!(await hasImage(docker, socket, baseImage))) {
      throw new OlError(
        "base_invalid",
        `Cannot run sandboxes in the image ${JSON.stringify(baseImage)}: Docker does not have it, ` +
          `wanted one that was pulled ("docker pull ${baseImage}") or built ("ol image build")`,
        { op: "docker.image" },
      );
    }
    return { image: baseImage, binds: [], python: "python3" };
  }
  const manifest = readBaseManifest(basePath);
  const image = `${BASE_REPOSITORY}:${manifest.id}`;
  if (!(await hasImage(docker, socket, image))) {
    await importBase(docker, socket, { manifest, image, whole: false });
  }
  return { image, binds: manifest.binds, python: manifest.python };
}

async function hasImage(docker: Docker, socket: string, image: string): Promise<boolean> {
  try {
    await docker.getImage(image).inspect();
    return true;
  } catch (cause) {
    if (dockerStatus(cause) === 404) return false;
    throw dockerError(cause, socket, `look for the image ${image}`);
  }
}

/**
 * The one way to the Docker daemon. dockerode brings ssh2 and grpc with it, so it is loaded when
 * somebody really talks to Docker and never before.
 */

import type Docker from "dockerode";
import { OlError, errnoNameOf } from "../common/errors.ts";
import { DOCKER_PING_TIMEOUT_MS } from "../common/limits.ts";

/** Labels on everything of ours that Docker holds. */
export const DOCKER_LABELS = {
  /** Absolute path of the cluster directory, or of the base that is being made. */
  cluster: "openlambda.cluster",
  /** `sandbox`, `installer` or `base`. */
  role: "openlambda.role",
  /** What runs in it: the lambda's name. */
  lambda: "openlambda.lambda",
} as const;

/** Where Debian's and Docker's own packages let the daemon listen. */
const DEFAULT_SOCKET = "/var/run/docker.sock";

/**
 * @param dockerHost value of the `DOCKER_HOST` of Docker's own client, if any
 * @returns the socket that it names, else the usual one; hosts over the network are not for us,
 *   because sandboxes are bound to directories of this machine
 */
export function defaultDockerSocket(dockerHost = process.env["DOCKER_HOST"]): string {
  return /^unix:\/\/(\/.+)$/u.exec(dockerHost ?? "")?.[1] ?? DEFAULT_SOCKET;
}

/**
 * Connects and makes sure that somebody answers.
 * @param socket path of the daemon's unix socket
 * @throws {OlError} docker_unavailable
 */
export async function connectDocker(socket: string): Promise<Docker> {
  const { default: Client } = await import("dockerode");
  const docker = new Client({ socketPath: socket });
  let timer: Timer | undefined;
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`no answer within ${DOCKER_PING_TIMEOUT_MS} ms`)),
        DOCKER_PING_TIMEOUT_MS,
      );
    });
    await Promise.race([docker.ping(), late]);
    return docker;
  } catch (cause) {
    throw dockerError(cause, socket, "reach Docker");
  } finally {
    clearTimeout(timer);
  }
}

const UNREACHABLE = new Set([
  "ENOENT",
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "EACCES",
  "ENOTSOCK",
  "FailedToOpenSocket",
]);

/**
 * @param cause what dockerode rejected with
 * @param socket for the message
 * @param what could not be done, such as "start a container"
 * @returns docker_unavailable where nobody answers, else engine_unavailable with the daemon's words
 */
export function dockerError(cause: unknown, socket: string, what: string): OlError {
  if (cause instanceof OlError) return cause;
  const status = dockerStatus(cause);
  const name = errnoNameOf(cause);
  const words = cause instanceof Error ? cause.message : String(cause);
  if (status === undefined && (name === undefined || UNREACHABLE.has(name))) {
    return new OlError(
      "docker_unavailable",
      `Cannot ${what} at ${JSON.stringify(socket)}: ${name ?? words}, wanted a running Docker daemon ` +
        '(Debian: "apt-get install docker.io" and "systemctl start docker"; another socket: docker.socket in the configuration)',
      { op: "docker.connect", cause, retryable: true },
    );
  }
  return new OlError("engine_unavailable", `Cannot ${what}: Docker says ${words}`, {
    op: "docker.request",
    cause,
    ...(status === undefined ? {} : { details: { status } }),
    retryable: status === undefined || status >= 500,
  });
}

/**
 * @param cause what dockerode rejected with
 * @returns HTTP status of the daemon's answer, or undefined where it did not answer
 */
export function dockerStatus(cause: unknown): number | undefined {
  const status = (cause as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === "number" ? status : undefined;
}

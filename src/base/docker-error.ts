/** What the Docker client rejects with, in the words of this project. */

import { OlError, errnoNameOf } from "../common/errors.ts";

const UNREACHABLE = new Set([
  "ENOENT",
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "EACCES",
  "ENOTSOCK",
  "FailedToOpenSocket",
  "ETIMEDOUT",
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
    const state = name === undefined || name === "ETIMEDOUT" ? words : name;
    return new OlError(
      "docker_unavailable",
      `Cannot ${what} at ${JSON.stringify(socket)}: ${state}, wanted a running Docker daemon ` +
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

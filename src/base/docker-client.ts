/**
 * The one way to the Docker daemon. dockerode brings ssh2 and grpc with it, so it is loaded when
 * somebody really talks to Docker and never before.
 */

import type Docker from "dockerode";
import {
  DOCKER_KILL_TIMEOUT_MS,
  DOCKER_PING_TIMEOUT_MS,
  DOCKER_REQUEST_TIMEOUT_MS,
} from "../common/docker-limits.ts";
import { dockerError } from "./docker-error.ts";

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
 * Connects and makes sure that somebody answers. Every later request but for streams and the wait for a
 * container's end has a bound, so that a daemon that hangs cannot hold up its caller for ever.
 * @param socket path of the daemon's unix socket
 * @param requestTimeoutMs bound of an ordinary request in milliseconds
 * @throws {OlError} docker_unavailable
 */
export async function connectDocker(
  socket: string,
  requestTimeoutMs = DOCKER_REQUEST_TIMEOUT_MS,
): Promise<Docker> {
  const { default: Client } = await import("dockerode");
  const docker = new Client({ socketPath: socket });
  boundRequests(docker.modem, requestTimeoutMs);
  try {
    await docker.ping();
    return docker;
  } catch (cause) {
    throw dockerError(cause, socket, "reach Docker");
  }
}

/** The part of dockerode's transport that is used here; its own types say `any`. */
interface Modem {
  dial(request: DialRequest, callback: (error: unknown, result: unknown) => void): void;
}

interface DialRequest {
  readonly path: string;
  readonly isStream?: boolean;
  readonly abortSignal?: AbortSignal;
}

/** @returns milliseconds that the daemon has for a request, or null where its caller sets a bound */
function boundOf({ path, isStream }: DialRequest, requestTimeoutMs: number): number | null {
  if (isStream === true || path.includes("/wait?")) return null;
  if (path === "/_ping") return DOCKER_PING_TIMEOUT_MS;
  return path.includes("/kill?") ? DOCKER_KILL_TIMEOUT_MS : requestTimeoutMs;
}

/** dockerode has one timeout for everything or none, so each request gets its own here. */
function boundRequests(modem: Modem, requestTimeoutMs: number): void {
  const dial = modem.dial.bind(modem);
  modem.dial = (request, callback) => {
    const boundMs = boundOf(request, requestTimeoutMs);
    if (boundMs === null) {
      dial(request, callback);
      return;
    }
    const late = new AbortController();
    const signals = [late.signal, request.abortSignal].filter((it) => it !== undefined);
    let settled = false;
    const settle = (error: unknown, result: unknown): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      callback(error, result);
    };
    const timer = setTimeout(() => {
      const words = `no answer within ${boundMs} ms`;
      settle(Object.assign(new Error(words), { code: "ETIMEDOUT" }), null);
      late.abort();
    }, boundMs);
    dial({ ...request, abortSignal: AbortSignal.any(signals) }, settle);
  };
}

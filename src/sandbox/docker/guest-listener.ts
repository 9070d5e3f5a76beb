/**
 * The unix socket on which one container's guest reports. It takes exactly one connection: whatever
 * runs in the container later finds nobody listening.
 */

import { chmodSync, chownSync } from "node:fs";
import { OlError } from "../../common/errors.ts";
import { GuestConnection, type GuestEvents } from "../../guest/guest-connection.ts";

/** Longest path of a unix socket in bytes (`sun_path` without its final NUL). */
const SOCKET_PATH_MAX_BYTES = 107;

/** Listens for one guest. */
export class GuestListener {
  readonly path: string;
  /** Settles when the guest is there; rejects only through `close`. */
  readonly connected: Promise<GuestConnection>;
  readonly #server: { stop(closeActive?: boolean): void };
  readonly #reject: (error: OlError) => void;
  #open = true;
  #connection: GuestConnection | null = null;

  /**
   * @param path where to listen; nothing is there yet
   * @param uid the only user, beside root, who may connect
   * @param events who hears of the guest
   * @throws {OlError} sandbox_create where the path is too long
   */
  constructor(path: string, uid: number, events: GuestEvents) {
    if (Buffer.byteLength(path) > SOCKET_PATH_MAX_BYTES) {
      throw new OlError(
        "sandbox_create",
        "Cannot listen for a sandbox: the socket's path is too long",
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<GuestConnection>();
    // Whoever waits for it hears of a rejection; nobody may be waiting when a sandbox is given up.
    promise.catch(() => undefined);
    this.path = path;
    this.connected = promise;
    this.#reject = reject;
    this.#server = Bun.listen({
      unix: path,
      socket: {
        open: (socket) => {
          if (this.#connection !== null) {
            socket.terminate();
            return;
          }
          this.#connection = new GuestConnection(socket, events);
          this.#stop();
          resolve(this.#connection);
        },
        data: (_socket, chunk) => this.#connection?.received(chunk),
        drain: () => this.#connection?.writable(),
        close: () => this.#connection?.closed(),
        error: () => this.#connection?.closed(),
      },
    });
    chmodSync(path, 0o600);
    chownSync(path, uid, uid);
  }

  /** Stops listening; idempotent. A guest that is connected stays connected. */
  close(): void {
    this.#stop();
    this.#reject(
      new OlError("sandbox_create", "The sandbox was given up before its guest connected"),
    );
  }

  #stop(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#server.stop(false);
  }
}

/**
 * The control socket of one zygote: requests with descriptors go out, events come back. Datagrams of
 * JSON over SOCK_SEQPACKET; the other side is `src/guest/zygote.py`. An import-cache zygote has run
 * third-party code, so what it says is checked and bounded like any guest's word.
 */

import { OlError, errnoNameOf } from "../../common/errors.ts";
import {
  ZYGOTE_REQUEST_MAX_BYTES,
  ZYGOTE_REQUESTS_WAITING_MAX,
  ZYGOTE_SEND_RETRY_MS,
} from "../../common/zygote-limits.ts";
import { connectFd } from "../../sys/connect-fd.ts";
import { sendWithFds } from "../../sys/socket.ts";

/** What a zygote reports. */
export interface ZygoteEvent {
  readonly event: "unmapped" | "ready" | "exit" | "failed";
  /** The request or child that it is about; `self` is the zygote. */
  readonly id: string;
  readonly signal?: number;
  readonly code?: number;
  readonly importUs?: number;
  /** Memory that each fork of it copies at once, in bytes. */
  readonly pinned?: number;
  readonly message?: string;
  readonly errno?: string;
}

/** Who hears of it. */
export interface ZygoteLinkEvents {
  onEvent(event: ZygoteEvent): void;
  /** The zygote is gone, and with it everything that was forked from it; comes once. */
  onEnd(): void;
}

interface WaitingRequest {
  readonly payload: Uint8Array;
  readonly fds: readonly number[];
  readonly sent: () => void;
  readonly failed: (error: unknown) => void;
}

const KINDS: readonly string[] = ["unmapped", "ready", "exit", "failed"];

function parseEvent(data: Uint8Array): ZygoteEvent | null {
  try {
    const value = JSON.parse(Buffer.from(data).toString()) as Partial<ZygoteEvent> | null;
    if (typeof value?.id !== "string" || !KINDS.includes(value.event as string)) return null;
    const numbers = [value.signal, value.code, value.importUs, value.pinned];
    if (numbers.some((n) => n !== undefined && !(typeof n === "number" && n >= 0))) return null;
    if (value.message !== undefined && typeof value.message !== "string") return null;
    return value as ZygoteEvent;
  } catch {
    return null;
  }
}

/** One zygote's control socket. */
export class ZygoteLink {
  readonly #fd: number;
  readonly #events: ZygoteLinkEvents;
  readonly #waiting: WaitingRequest[] = [];
  #socket: { end(): void } | null = null;
  #open = true;
  #retry: ReturnType<typeof setTimeout> | null = null;

  private constructor(fd: number, events: ZygoteLinkEvents) {
    this.#fd = fd;
    this.#events = events;
  }

  /**
   * @param fd the worker's end; closed with the link
   * @param events who hears of what the zygote reports
   * @returns the link, listening
   */
  static async open(fd: number, events: ZygoteLinkEvents): Promise<ZygoteLink> {
    const link = new ZygoteLink(fd, events);
    link.#socket = await connectFd(fd, {
      data: (_socket, data) => {
        link.#received(data);
      },
      close: () => {
        link.#ended();
      },
      error: () => {
        link.#ended();
      },
    });
    return link;
  }

  /** Whether the zygote is there. */
  get isOpen(): boolean {
    return this.#open;
  }

  /**
   * Sends a message without descriptors at once; for the handshake, when nothing else is under way.
   * @param payload the datagram
   * @throws {SyscallError} EPIPE where the zygote is gone
   */
  sendRaw(payload: Uint8Array): void {
    sendWithFds(this.#fd, payload, []);
  }

  /**
   * Sends one request; the descriptors are duplicated by the kernel.
   * @param request fields of the operation
   * @param fds descriptors in the order that the operation expects; closed by the caller after `sent`
   * @param sent called once the kernel has the message, or will never have it
   * @param refused called where the kernel refuses it later, when it had to wait
   * @throws {OlError} pool_exhausted; sandbox_create where it is longer than a zygote takes; a
   *   SyscallError where the kernel refuses it at once
   */
  send(
    request: object,
    fds: readonly number[],
    sent: () => void,
    refused: (error: unknown) => void,
  ): void {
    const payload = Buffer.from(JSON.stringify(request));
    if (payload.byteLength > ZYGOTE_REQUEST_MAX_BYTES) {
      sent();
      throw new OlError(
        "sandbox_create",
        `Cannot ask a zygote: the request has ${payload.byteLength} bytes, ` +
          `at most ${ZYGOTE_REQUEST_MAX_BYTES} are taken`,
      );
    }
    if (this.#waiting.length >= ZYGOTE_REQUESTS_WAITING_MAX) {
      sent();
      throw new OlError("pool_exhausted", "Too many sandboxes are being created at once", {
        retryable: true,
      });
    }
    const failure: { error: unknown; isLate: boolean } = { error: null, isLate: false };
    const failed = (error: unknown): void => {
      if (failure.isLate) refused(error);
      failure.error = error;
    };
    this.#waiting.push({ payload, fds, sent, failed });
    this.#flush();
    failure.isLate = true;
    if (failure.error !== null) throw failure.error;
  }

  /** Closes the socket: the zygote ends, and everything below it. */
  close(): void {
    this.#socket?.end();
    this.#ended();
  }

  #flush(): void {
    if (this.#retry !== null) return;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#open) {
        try {
          sendWithFds(this.#fd, next.payload, next.fds);
        } catch (error) {
          const name = errnoNameOf(error);
          if (name === "EAGAIN") {
            this.#retry = setTimeout(() => {
              this.#retry = null;
              this.#flush();
            }, ZYGOTE_SEND_RETRY_MS);
            return;
          }
          if (name !== "EPIPE" && name !== "ECONNRESET") {
            this.#waiting.shift();
            next.sent();
            next.failed(error);
            continue;
          }
          this.#open = false;
        }
      }
      this.#waiting.shift();
      next.sent();
    }
  }

  #received(data: Uint8Array): void {
    const event = parseEvent(data);
    if (event === null) this.close();
    else this.#events.onEvent(event);
  }

  #ended(): void {
    const socket = this.#socket;
    if (socket === null) return;
    this.#socket = null;
    this.#open = false;
    this.#flush();
    this.#events.onEnd();
  }
}

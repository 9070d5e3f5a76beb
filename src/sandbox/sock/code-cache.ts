/**
 * Compiled code of lambdas, so that only the first sandbox of a version compiles it. The bytes come
 * from that lambda's own sandbox and go to no other lambda: they are as hostile as the lambda and
 * the worker never looks into them.
 */

const NONE = new Uint8Array(0);

/** A bounded map from code id to compiled code, least recently used first out. */
export class CodeCache {
  readonly #entries = new Map<string, Uint8Array>();
  readonly #maxBytes: number;
  #bytes = 0;

  /** @param maxBytes of all entries together */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * @param codeId identifies the lambda and its immutable code
   * @returns the compiled code, or an empty array
   */
  get(codeId: string): Uint8Array {
    const code = this.#entries.get(codeId);
    if (code === undefined) return NONE;
    this.#entries.delete(codeId);
    this.#entries.set(codeId, code);
    return code;
  }

  /**
   * Keeps the first code that is offered for an id.
   * @param codeId identifies the lambda and its immutable code
   * @param code what its sandbox compiled
   */
  set(codeId: string, code: Uint8Array): void {
    if (this.#entries.has(codeId) || code.byteLength > this.#maxBytes) return;
    this.#entries.set(codeId, code);
    this.#bytes += code.byteLength;
    for (const [oldest, bytes] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#entries.delete(oldest);
      this.#bytes -= bytes.byteLength;
    }
  }
}

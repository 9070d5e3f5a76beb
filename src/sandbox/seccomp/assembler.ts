/**
 * Classic BPF with labels. Conditional jumps lead forwards by at most 255 instructions; a longer one is
 * made of two, so that what is assembled needs no thought about distances.
 */

import { assert } from "../../common/assert.ts";

/** Size of `struct sock_filter` in bytes: u16 code, u8 jt, u8 jf, u32 k. */
const INSTRUCTION_BYTES = 8;

/** BPF_MAXINSNS: the kernel takes no longer program. */
const INSTRUCTIONS_MAX = 4096;

const JMP_JA = 0x05;
const JUMP_MAX = 255;

/** A place in the program that is named before it is known; must be placed after every use. */
export interface Label {
  line: number | null;
}

interface Line {
  readonly code: number;
  readonly k: number;
  /** Where to go if the comparison holds, or not; null is the next line. Absent: no jump. */
  readonly jumps?: { readonly yes: Label | null; readonly no: Label | null };
}

/** Collects lines and turns them into the bytes that the kernel takes. */
export class Assembler {
  readonly #lines: Line[] = [];

  /** An instruction that is no jump. */
  plain(code: number, k: number): void {
    this.#lines.push({ code, k: k >>> 0 });
  }

  /**
   * A conditional jump.
   * @param code comparison
   * @param k what the accumulator is compared with
   * @param yes target if it holds; null is the next instruction
   * @param no target if it does not
   */
  jump(code: number, k: number, yes: Label | null, no: Label | null): void {
    this.#lines.push({ code, k: k >>> 0, jumps: { yes, no } });
  }

  /** The next instruction is where `label` stands. */
  place(label: Label): void {
    assert(label.line === null, "a label was placed twice");
    label.line = this.#lines.length;
  }

  /**
   * @returns array of `struct sock_filter` in little-endian order
   * @throws {AssertionError} when a label is missing or behind its use, or the program is too long
   */
  assemble(): Uint8Array {
    const sizes = this.#lines.map(() => 1);
    let starts = startsOf(sizes);
    // Each round can only lengthen lines, so that it ends after as many rounds as there are lines.
    for (let grown = true; grown;) {
      grown = false;
      for (const [index, line] of this.#lines.entries()) {
        const size = this.#sizeOf(line, index, starts);
        if (size > (sizes[index] ?? 1)) {
          sizes[index] = size;
          grown = true;
        }
      }
      starts = startsOf(sizes);
    }
    const count = starts[this.#lines.length] ?? 0;
    assert(count <= INSTRUCTIONS_MAX, `${count} instructions are more than BPF takes`);
    // A buffer of its own, because the address of a small typed array may change under the FFI.
    const bytes = new Uint8Array(new ArrayBuffer(count * INSTRUCTION_BYTES));
    const view = new DataView(bytes.buffer);
    for (const [index, line] of this.#lines.entries()) {
      this.#emit(view, line, index, starts, sizes[index] ?? 1);
    }
    return bytes;
  }

  /** Instructions from the end of the jump itself to its target. */
  #distance(label: Label | null, index: number, starts: readonly number[]): number {
    const line = label === null ? index + 1 : label.line;
    assert(line !== null && line > index, "a label is missing or stands before its use");
    return (starts[line] ?? 0) - (starts[index] ?? 0) - 1;
  }

  #sizeOf(line: Line, index: number, starts: readonly number[]): number {
    if (line.jumps === undefined) return 1;
    const far = [line.jumps.yes, line.jumps.no].filter(
      (label) => this.#distance(label, index, starts) > JUMP_MAX,
    );
    return 1 + far.length;
  }

  #emit(view: DataView, line: Line, index: number, starts: readonly number[], size: number): void {
    const at = starts[index] ?? 0;
    const write = (position: number, code: number, jt: number, jf: number, k: number): void => {
      view.setUint16(position * INSTRUCTION_BYTES, code, true);
      view.setUint8(position * INSTRUCTION_BYTES + 2, jt);
      view.setUint8(position * INSTRUCTION_BYTES + 3, jf);
      view.setUint32(position * INSTRUCTION_BYTES + 4, k, true);
    };
    if (line.jumps === undefined) return write(at, line.code, 0, 0, line.k);
    let used = 1;
    const near = (label: Label | null): number => {
      const distance = this.#distance(label, index, starts);
      if (distance <= JUMP_MAX) return distance;
      // The far target is reached over an unconditional jump right behind this one.
      const step = used;
      used += 1;
      write(at + step, JMP_JA, 0, 0, distance - step);
      return step - 1;
    };
    const jt = near(line.jumps.yes);
    const jf = near(line.jumps.no);
    assert(used === size, "a jump changed its length while it was written");
    write(at, line.code, jt, jf, line.k);
  }
}

/** First instruction of each line, and one more: the length of all. */
function startsOf(sizes: readonly number[]): number[] {
  const starts = [0];
  for (const size of sizes) starts.push((starts.at(-1) ?? 0) + size);
  return starts;
}

/**
 * Runs a seccomp program the way the kernel does, so that tests and the fuzzer can ask a filter without
 * installing it. Written from the description of classic BPF, independent of the builder.
 *
 * @see https://docs.kernel.org/networking/filter.html
 */

import { OlError } from "../../common/errors.ts";
import type { Action } from "./policy.ts";

/** A system call as the kernel shows it to a filter (`struct seccomp_data`). */
export interface SeccompData {
  /** Number; read as 32 bits without sign. */
  readonly nr: number;
  /** `AUDIT_ARCH_*`. */
  readonly arch: number;
  /** Up to six arguments of 64 bits; missing ones are 0. */
  readonly args: readonly bigint[];
}

const DATA_BYTES = 64;
const BYTES = 8;

function packData(data: SeccompData): DataView {
  const view = new DataView(new ArrayBuffer(DATA_BYTES));
  view.setUint32(0, data.nr >>> 0, true);
  view.setUint32(4, data.arch >>> 0, true);
  for (let index = 0; index < 6; index += 1) {
    view.setBigUint64(16 + 8 * index, BigInt.asUintN(64, data.args[index] ?? 0n), true);
  }
  return view;
}

function broken(why: string): OlError {
  return new OlError("internal", `Cannot run the seccomp program: ${why}`, {
    op: "seccomp.interpret",
  });
}

function actionOf(value: number): Action {
  const kind = value & 0x7fff0000;
  if (value >>> 0 === 0x80000000) return { kind: "kill" };
  if (kind === 0x7fff0000) return { kind: "allow" };
  if (kind === 0x00050000) return { kind: "errno", errno: value & 0xffff };
  throw broken(`it returns 0x${(value >>> 0).toString(16)}, which is no action that we use`);
}

/**
 * @param filter array of `struct sock_filter`
 * @param data the call
 * @returns what the kernel would do with it, and after how many instructions
 * @throws {OlError} internal when the kernel would refuse the program
 */
export function trace(
  filter: Uint8Array,
  data: SeccompData,
): { readonly action: Action; readonly steps: number } {
  if (filter.length === 0 || filter.length % BYTES !== 0) throw broken("its length is wrong");
  const code = new DataView(filter.buffer, filter.byteOffset, filter.byteLength);
  const input = packData(data);
  const count = filter.length / BYTES;
  let accumulator = 0;
  let at = 0;
  // Jumps only lead forwards, so that no program runs longer than it is.
  for (let steps = 1; at < count; steps += 1) {
    const op = code.getUint16(at * BYTES, true);
    const jt = code.getUint8(at * BYTES + 2);
    const jf = code.getUint8(at * BYTES + 3);
    const k = code.getUint32(at * BYTES + 4, true);
    at += 1;
    switch (op) {
      case 0x20: // BPF_LD | BPF_W | BPF_ABS
        if (k % 4 !== 0 || k >= DATA_BYTES) throw broken(`it loads from offset ${k}`);
        accumulator = input.getUint32(k, true);
        break;
      case 0x54: // BPF_ALU | BPF_AND | BPF_K
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x05: // BPF_JMP | BPF_JA
        at += k;
        break;
      case 0x15: // BPF_JMP | BPF_JEQ | BPF_K
        at += accumulator === k ? jt : jf;
        break;
      case 0x25: // BPF_JMP | BPF_JGT | BPF_K
        at += accumulator > k ? jt : jf;
        break;
      case 0x35: // BPF_JMP | BPF_JGE | BPF_K
        at += accumulator >= k ? jt : jf;
        break;
      case 0x45: // BPF_JMP | BPF_JSET | BPF_K
        at += (accumulator & k) === 0 ? jf : jt;
        break;
      case 0x06: // BPF_RET | BPF_K
        return { action: actionOf(k), steps };
      default:
        throw broken(`instruction ${at - 1} has the unknown code 0x${op.toString(16)}`);
    }
  }
  throw broken("it runs past its end");
}

/**
 * @param filter array of `struct sock_filter`
 * @param data the call
 * @returns what the kernel would do with it
 * @throws {OlError} internal when the kernel would refuse the program
 */
export function interpret(filter: Uint8Array, data: SeccompData): Action {
  return trace(filter, data).action;
}

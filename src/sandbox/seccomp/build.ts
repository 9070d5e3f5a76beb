/**
 * Turns the table into a seccomp program: a binary search over ranges of numbers that share a verdict.
 *
 * Balanced on purpose: the kernel runs the program once per system call number when it is installed (to
 * learn which are always allowed, Linux 5.11) and never again for those, so that the average path counts,
 * not the one of the commonest call.
 *
 * @see https://docs.kernel.org/userspace-api/seccomp_filter.html
 */

import { assert } from "../../common/assert.ts";
import { Assembler, type Label } from "./assembler.ts";
import { SYSCALL_NUMBER_LAST, type SeccompArch, syscallNumber } from "./numbers.ts";
import {
  ALLOW,
  type Action,
  type Check,
  ENOSYS,
  EPERM,
  KILL,
  type Verdict,
  isAction,
  sameAction,
} from "./policy.ts";
import { type SeccompProfile, syscallTable } from "./table.ts";

/** Numbers from `first` up to the next range's `first` share a verdict. */
interface Range {
  readonly first: number;
  readonly verdict: Verdict;
}

/** `AUDIT_ARCH_*` of a system call made in the native way. */
export const AUDIT_ARCH: Readonly<Record<SeccompArch, number>> = {
  x86_64: 0xc000003e,
  aarch64: 0xc00000b7,
};

/** Bit of a number that marks the x32 variant of x86-64. */
const X32_BIT = 0x40000000;

/** Offsets in `struct seccomp_data`: int nr, u32 arch, u64 instruction_pointer, u64 args[6]. */
const OFFSET_NR = 0;
const OFFSET_ARCH = 4;
const OFFSET_ARGS = 16;

const LD_W_ABS = 0x20;
const ALU_AND_K = 0x54;
const JMP_JEQ_K = 0x15;
const JMP_JGE_K = 0x35;
const JMP_JSET_K = 0x45;
const RET_K = 0x06;

const SECCOMP_RET_KILL_PROCESS = 0x80000000;
const SECCOMP_RET_ERRNO = 0x00050000;
const SECCOMP_RET_ALLOW = 0x7fff0000;

function returnValue(action: Action): number {
  if (action.kind === "allow") return SECCOMP_RET_ALLOW;
  if (action.kind === "kill") return SECCOMP_RET_KILL_PROCESS;
  return SECCOMP_RET_ERRNO | action.errno;
}

/**
 * Writes the search first, then the checks that it leads to, then one return per action. Sharing them
 * halves the program, and with it the time that the kernel takes to translate it.
 */
class FilterWriter {
  readonly #out = new Assembler();
  /** Checks in the order in which they were first named; a nested one comes after its user. */
  readonly #checks = new Map<Check, Label>();
  readonly #returns = new Map<number, Label>();

  write(auditArch: number, ranges: readonly Range[]): Uint8Array {
    this.#out.plain(LD_W_ABS, OFFSET_ARCH);
    this.#out.jump(JMP_JEQ_K, auditArch, null, this.#labelOf(KILL));
    this.#out.plain(LD_W_ABS, OFFSET_NR);
    this.#search(ranges);
    // A map can grow while it is walked: nested checks are appended and met later.
    for (const [check, label] of this.#checks) this.#check(check, label);
    for (const [value, label] of this.#returns) {
      this.#out.place(label);
      this.#out.plain(RET_K, value);
    }
    return this.#out.assemble();
  }

  #labelOf(verdict: Verdict): Label {
    const label: Label = { line: null };
    if (isAction(verdict)) {
      const value = returnValue(verdict);
      const known = this.#returns.get(value);
      if (known === undefined) this.#returns.set(value, label);
      return known ?? label;
    }
    const known = this.#checks.get(verdict);
    if (known !== undefined && known.line === null) return known;
    assert(known === undefined, "a check is used after it was written");
    this.#checks.set(verdict, label);
    return label;
  }

  /** Search among at least two ranges, with the number in the accumulator. */
  #search(ranges: readonly Range[]): void {
    const middle = ranges.length >> 1;
    const low = ranges.slice(0, middle);
    const high = ranges.slice(middle);
    const pivot = high[0];
    assert(pivot !== undefined && low.length > 0, "a search needs two ranges");
    const lowLeaf = low.length === 1 ? this.#leaf(low) : null;
    if (high.length === 1) {
      this.#out.jump(JMP_JGE_K, pivot.first, this.#leaf(high), lowLeaf);
      if (lowLeaf === null) this.#search(low);
      return;
    }
    const highStart: Label | null = lowLeaf === null ? { line: null } : null;
    this.#out.jump(JMP_JGE_K, pivot.first, highStart, lowLeaf);
    if (lowLeaf === null) this.#search(low);
    if (highStart !== null) this.#out.place(highStart);
    this.#search(high);
  }

  #leaf(ranges: readonly Range[]): Label {
    const [only] = ranges;
    assert(only !== undefined, "a leaf has a range");
    return this.#labelOf(only.verdict);
  }

  #check(check: Check, label: Label): void {
    this.#out.place(label);
    // Both architectures are little-endian: the low half of an argument comes first.
    const half = check.kind === "value" && check.half === "high" ? 4 : 0;
    this.#out.plain(LD_W_ABS, OFFSET_ARGS + 8 * check.arg + half);
    if (check.kind === "bits") {
      this.#out.jump(JMP_JSET_K, check.mask, this.#labelOf(check.set), this.#labelOf(check.clear));
      return;
    }
    if (check.mask !== undefined) this.#out.plain(ALU_AND_K, check.mask);
    const pairs = check.cases.flatMap(({ values, verdict }) =>
      values.map((value) => ({ value, verdict })),
    );
    for (const [index, { value, verdict }] of pairs.entries()) {
      const last = index === pairs.length - 1;
      const otherwise = last ? this.#labelOf(check.otherwise) : null;
      this.#out.jump(JMP_JEQ_K, value, this.#labelOf(verdict), otherwise);
    }
  }
}

/** All numbers from 0 to 2^32 - 1 as ranges, neighbours with the same action joined. */
function rangesOf(arch: SeccompArch, profile: SeccompProfile): Range[] {
  const byNumber = new Map<number, Verdict>();
  for (const { calls, verdict } of syscallTable(profile)) {
    for (const name of calls) {
      const number = syscallNumber(arch, name);
      if (number === null) continue;
      assert(!byNumber.has(number), `system call ${name} stands in the table twice`);
      byNumber.set(number, verdict);
    }
  }
  const ranges: Range[] = [];
  const add = (first: number, verdict: Verdict): void => {
    const last = ranges.at(-1)?.verdict;
    const joins = last !== undefined && isAction(last) && isAction(verdict);
    if (!(joins && sameAction(last, verdict))) ranges.push({ first, verdict });
  };
  if (profile.part === "late") {
    for (const [number, verdict] of [...byNumber].toSorted(([a], [b]) => a - b)) {
      if (ranges.length === 0 && number > 0) add(0, ALLOW);
      add(number, verdict);
      if (!byNumber.has(number + 1)) add(number + 1, ALLOW);
    }
    return ranges;
  }
  for (let number = 0; number <= SYSCALL_NUMBER_LAST; number += 1) {
    add(number, byNumber.get(number) ?? EPERM);
  }
  add(SYSCALL_NUMBER_LAST + 1, ENOSYS);
  // Also the negative numbers, with which a tracer skips a call.
  add(X32_BIT, EPERM);
  return ranges;
}

/**
 * Builds the filter of a handler process. It needs `no_new_privs` (or CAP_SYS_ADMIN in the user namespace)
 * to be installed, and must be the last thing set up: it refuses what setting up needs.
 *
 * | part | verdict |
 * | --- | --- |
 * | another architecture (32-bit calls) | the process is killed |
 * | a number of the table | as the table says |
 * | any other number up to the table's last | EPERM |
 * | higher numbers (newer kernels) | ENOSYS |
 * | x32 numbers, negative numbers | EPERM |
 *
 * @param options architecture of the process, its network, and whether one filter or one of two is wanted
 * @returns array of `struct sock_filter`, 8 bytes each
 */
export function buildSeccompFilter(
  options: SeccompProfile & { readonly arch: SeccompArch },
): Uint8Array {
  return new FilterWriter().write(AUDIT_ARCH[options.arch], rangesOf(options.arch, options));
}

/**
 * @param nodeArch `process.arch`
 * @returns the architecture's name here, or null where no filter can be built for it
 */
export function seccompArch(nodeArch: string): SeccompArch | null {
  if (nodeArch === "x64") return "x86_64";
  return nodeArch === "arm64" ? "aarch64" : null;
}

/**
 * The table of system calls as a seccomp profile for Docker: the same allow-list as in the SOCK engine
 * instead of Docker's own, which is wider. A profile can only list what is allowed, so every other
 * answer of the table becomes EPERM (ioctl) or is a row of its own (clone3).
 *
 * runc starts the program with the filter in place; what it needs for that (1.1.5) the table allows. One
 * that needs more fails at the first start, not silently.
 *
 * @see https://docs.docker.com/engine/security/seccomp/ and the OCI runtime specification, "seccomp"
 */

import { assert } from "../../common/assert.ts";
import { type Check, type Verdict, isAction } from "../seccomp/policy.ts";
import { syscallTable } from "../seccomp/table.ts";

/** A condition on one argument: `(argument & value) == valueTwo`, or `argument == value`. */
interface ProfileArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo: number;
  readonly op: "SCMP_CMP_MASKED_EQ" | "SCMP_CMP_EQ";
}

/** The same of all 64 bits: `(argument & mask) == value`. */
interface Condition {
  readonly index: number;
  readonly mask: bigint;
  readonly value: bigint;
}

/**
 * One entry; its conditions hold together, entries of one call are alternatives. Each is on another argument: where
 * two are on the same, runc (1.1.5) makes alternatives of all of them.
 */
interface ProfileRule {
  readonly names: readonly string[];
  readonly action: "SCMP_ACT_ALLOW" | "SCMP_ACT_ERRNO";
  readonly errnoRet?: number;
  readonly args?: readonly ProfileArg[];
}

/** What Docker takes in `SecurityOpt` as `seccomp=<JSON>`. */
export interface DockerSeccompProfile {
  readonly defaultAction: "SCMP_ACT_ERRNO";
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly ProfileRule[];
}

const EPERM_NUMBER = 1;
const BITS = 32;
const ALL_BITS = 0xffffffff;
const WHOLE = (1n << 64n) - 1n;

const ARCHITECTURES = { x64: "SCMP_ARCH_X86_64", arm64: "SCMP_ARCH_AARCH64" } as const;

/**
 * @param network of the sandbox: `host` may ask for addresses over netlink
 * @param nodeArch `process.arch`
 * @returns the profile
 */
export function dockerSeccompProfile(
  network: "none" | "host",
  nodeArch: string = process.arch,
): DockerSeccompProfile {
  const syscalls: ProfileRule[] = [];
  for (const { calls, verdict } of syscallTable({ network })) {
    if (calls.length === 0) continue;
    if (isAction(verdict)) {
      if (verdict.kind === "allow") syscalls.push({ names: calls, action: "SCMP_ACT_ALLOW" });
      else if (verdict.kind === "errno" && verdict.errno !== EPERM_NUMBER) {
        syscalls.push({ names: calls, action: "SCMP_ACT_ERRNO", errnoRet: verdict.errno });
      }
      continue;
    }
    for (const conditions of allowedBy(verdict)) {
      const args = together(conditions)?.map(asArg);
      if (args !== undefined) syscalls.push({ names: calls, action: "SCMP_ACT_ALLOW", args });
    }
  }
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: EPERM_NUMBER,
    architectures: [nodeArch === "arm64" ? ARCHITECTURES.arm64 : ARCHITECTURES.x64],
    syscalls,
  };
}

/** @returns one condition for each argument, or null where they cannot hold together */
function together(conditions: readonly Condition[]): readonly Condition[] | null {
  const merged = new Map<number, Condition>();
  for (const it of conditions) {
    const known = merged.get(it.index) ?? { ...it, mask: 0n, value: 0n };
    if (((known.value ^ it.value) & known.mask & it.mask) !== 0n) return null;
    const both = { index: it.index, mask: known.mask | it.mask, value: known.value | it.value };
    merged.set(it.index, both);
  }
  return [...merged.values()];
}

/** A number of JSON holds 53 bits exactly: enough for every low half, and for whole arguments that are small. */
function asArg({ index, mask, value }: Condition): ProfileArg {
  assert(value <= BigInt(Number.MAX_SAFE_INTEGER), "a profile compares with small values");
  if (mask === WHOLE) return { index, value: Number(value), valueTwo: 0, op: "SCMP_CMP_EQ" };
  assert(mask <= BigInt(ALL_BITS), "a profile compares low halves or whole arguments");
  return { index, value: Number(mask), valueTwo: Number(value), op: "SCMP_CMP_MASKED_EQ" };
}

/** @returns every way to pass: conditions that hold together */
function allowedBy(verdict: Verdict): readonly (readonly Condition[])[] {
  if (isAction(verdict)) return verdict.kind === "allow" ? [[]] : [];
  if (verdict.kind === "bits") {
    const clear = condition(verdict, verdict.mask, 0);
    const set = complementOf(verdict, verdict.mask, [0]);
    return [
      ...allowedBy(verdict.clear).map((rest) => [clear, ...rest]),
      ...set.flatMap((first) => allowedBy(verdict.set).map((rest) => [first, ...rest])),
    ];
  }
  return [...casesOf(verdict), ...othersOf(verdict)];
}

/** Which half of which argument. */
interface Bits {
  readonly arg: number;
  readonly half?: "high";
}

type ValueCheck = Extract<Check, { readonly kind: "value" }>;

function casesOf(check: ValueCheck): readonly (readonly Condition[])[] {
  const mask = check.mask ?? ALL_BITS;
  return check.cases.flatMap(({ values, verdict }) =>
    values.flatMap((value) =>
      allowedBy(verdict).map((rest) => [condition(check, mask, value), ...rest]),
    ),
  );
}

function othersOf(check: ValueCheck): readonly (readonly Condition[])[] {
  const rests = allowedBy(check.otherwise);
  if (rests.length === 0) return [];
  const named = check.cases.flatMap(({ values }) => values);
  return complementOf(check, check.mask ?? ALL_BITS, named).flatMap((first) =>
    rests.map((rest) => [first, ...rest]),
  );
}

/** 32 bits of an argument; by default only the low ones count, as for the kernel. */
function condition({ arg, half }: Bits, mask: number, value: number): Condition {
  const shift = half === "high" ? 32n : 0n;
  return {
    index: arg,
    mask: BigInt(mask >>> 0) << shift,
    value: BigInt(value >>> 0) << shift,
  };
}

/**
 * "None of these" cannot be said directly. It is said by prefixes: descending bit by bit along the named values,
 * each branch that none of them takes.
 */
function complementOf(bits: Bits, mask: number, named: readonly number[]): Condition[] {
  const found: Condition[] = [];
  const descend = (bit: number, prefixMask: number, prefix: number): void => {
    const within = named.filter((value) => (value & prefixMask) >>> 0 === prefix);
    if (within.length === 0) {
      found.push(condition(bits, prefixMask, prefix));
      return;
    }
    let next = bit;
    while (next >= 0 && ((mask >>> next) & 1) === 0) next -= 1;
    if (next < 0) return;
    const nextMask = (prefixMask | (1 << next)) >>> 0;
    descend(next - 1, nextMask, prefix);
    descend(next - 1, nextMask, (prefix | (1 << next)) >>> 0);
  };
  descend(BITS - 1, 0, 0);
  return found;
}

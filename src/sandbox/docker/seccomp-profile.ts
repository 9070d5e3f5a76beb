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

import { type Check, type Verdict, isAction } from "../seccomp/policy.ts";
import { syscallTable } from "../seccomp/table.ts";

/** A condition on one argument: `(argument & value) == valueTwo`. */
interface ProfileArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo: number;
  readonly op: "SCMP_CMP_MASKED_EQ";
}

/** One entry; its conditions hold together, entries of one call are alternatives. */
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
    for (const args of allowedBy(verdict)) {
      syscalls.push({ names: calls, action: "SCMP_ACT_ALLOW", args });
    }
  }
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: EPERM_NUMBER,
    architectures: [nodeArch === "arm64" ? ARCHITECTURES.arm64 : ARCHITECTURES.x64],
    syscalls,
  };
}

/** @returns every way to pass: conditions that hold together */
function allowedBy(verdict: Verdict): readonly (readonly ProfileArg[])[] {
  if (isAction(verdict)) return verdict.kind === "allow" ? [[]] : [];
  if (verdict.kind === "bits") {
    const clear = condition(verdict.arg, verdict.mask, 0);
    const set = complementOf(verdict.arg, verdict.mask, [0]);
    return [
      ...allowedBy(verdict.clear).map((rest) => [clear, ...rest]),
      ...set.flatMap((first) => allowedBy(verdict.set).map((rest) => [first, ...rest])),
    ];
  }
  return [...casesOf(verdict), ...othersOf(verdict)];
}

type ValueCheck = Extract<Check, { readonly kind: "value" }>;

function casesOf({ arg, mask = ALL_BITS, cases }: ValueCheck): readonly (readonly ProfileArg[])[] {
  return cases.flatMap(({ values, verdict }) =>
    values.flatMap((value) =>
      allowedBy(verdict).map((rest) => [condition(arg, mask, value), ...rest]),
    ),
  );
}

function othersOf(check: ValueCheck): readonly (readonly ProfileArg[])[] {
  const rests = allowedBy(check.otherwise);
  if (rests.length === 0) return [];
  const named = check.cases.flatMap(({ values }) => values);
  return complementOf(check.arg, check.mask ?? ALL_BITS, named).flatMap((first) =>
    rests.map((rest) => [first, ...rest]),
  );
}

/** Only the low 32 bits count, as for the kernel. */
function condition(index: number, mask: number, value: number): ProfileArg {
  return { index, value: mask >>> 0, valueTwo: value >>> 0, op: "SCMP_CMP_MASKED_EQ" };
}

/**
 * libseccomp compares an argument once per rule, so "none of these" cannot be said directly. It is said
 * by prefixes: descending bit by bit along the named values, each branch that none of them takes.
 */
function complementOf(index: number, mask: number, named: readonly number[]): ProfileArg[] {
  const found: ProfileArg[] = [];
  const descend = (bit: number, prefixMask: number, prefix: number): void => {
    const within = named.filter((value) => (value & prefixMask) >>> 0 === prefix);
    if (within.length === 0) {
      found.push(condition(index, prefixMask, prefix));
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

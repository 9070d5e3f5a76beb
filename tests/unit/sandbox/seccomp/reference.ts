/** The table read in the plainest way, against which the compiled program is compared. */

import {
  type SeccompArch,
  SYSCALL_NUMBER_LAST,
  type SyscallName,
  syscallNumber,
} from "../../../../src/sandbox/seccomp/numbers.ts";
import {
  ALLOW,
  type Action,
  ENOSYS,
  EPERM,
  type Verdict,
} from "../../../../src/sandbox/seccomp/policy.ts";
import { type SeccompProfile, syscallTable } from "../../../../src/sandbox/seccomp/table.ts";

function resolve(verdict: Verdict, args: readonly bigint[]): Action {
  if (verdict.kind === "bits") {
    const hit = (args[verdict.arg] ?? 0n) & BigInt(verdict.mask) & 0xffffffffn;
    return resolve(hit === 0n ? verdict.clear : verdict.set, args);
  }
  if (verdict.kind === "value") {
    const mask = BigInt(verdict.mask ?? 0xffffffff);
    const word = (args[verdict.arg] ?? 0n) >> (verdict.half === "high" ? 32n : 0n);
    const value = Number(word & 0xffffffffn & mask);
    const hit = verdict.cases.find((entry) => entry.values.includes(value));
    return resolve(hit?.verdict ?? verdict.otherwise, args);
  }
  return verdict;
}

/** What the table says about one call, without any compiling. */
export function decide(
  arch: SeccompArch,
  profile: SeccompProfile,
  nr: number,
  args: readonly bigint[],
): Action {
  const number = nr >>> 0;
  for (const group of syscallTable(profile)) {
    const calls: readonly SyscallName[] = group.calls;
    if (calls.some((name) => syscallNumber(arch, name) === number)) {
      return resolve(group.verdict, args);
    }
  }
  if (profile.part === "late") return ALLOW;
  return number > SYSCALL_NUMBER_LAST && number < 0x40000000 ? ENOSYS : EPERM;
}

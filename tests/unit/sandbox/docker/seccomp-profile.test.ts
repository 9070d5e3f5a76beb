/** The profile for Docker, read as libseccomp reads it, against the table read in the plainest way. */

import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  type DockerSeccompProfile,
  dockerSeccompProfile,
} from "../../../../src/sandbox/docker/seccomp-profile.ts";
import {
  SYSCALL_NUMBERS,
  type SyscallName,
  syscallNumber,
} from "../../../../src/sandbox/seccomp/numbers.ts";
import { syscallTable } from "../../../../src/sandbox/seccomp/table.ts";
import { decide } from "../seccomp/reference.ts";

const EPERM = 1;

type Rule = DockerSeccompProfile["syscalls"][number];

/** As runc does it: conditions hold together, but where two are on one argument each of them is enough. */
function holdsFor({ args: conditions = [] }: Rule, args: readonly bigint[]): boolean {
  const hold = conditions.map(({ index, value, valueTwo, op }) => {
    const argument = args[index] ?? 0n;
    if (op === "SCMP_CMP_EQ") return argument === BigInt(value);
    return (argument & BigInt(value)) === BigInt(valueTwo);
  });
  const isOnePerArgument = new Set(conditions.map(({ index }) => index)).size === hold.length;
  return isOnePerArgument ? hold.every(Boolean) : hold.some(Boolean);
}

/** What becomes of a call: "allow" or an errno. Fails where two entries say different things. */
function read(profile: DockerSeccompProfile, name: string, args: readonly bigint[]): unknown {
  const found = new Set<unknown>();
  for (const rule of profile.syscalls) {
    if (!rule.names.includes(name)) continue;
    if (holdsFor(rule, args)) found.add(rule.action === "SCMP_ACT_ALLOW" ? "allow" : rule.errnoRet);
  }
  expect(found.size).toBeLessThan(2);
  return [...found][0] ?? profile.defaultErrnoRet;
}

/** What the table says, with what a profile cannot say taken out. */
function wanted(network: "none" | "host", name: SyscallName, args: readonly bigint[]): unknown {
  const action = decide("x86_64", { network }, syscallNumber("x86_64", name) ?? -1, args);
  if (action.kind !== "errno") return action.kind;
  return name === "ioctl" ? EPERM : action.errno;
}

/** Numbers that the table names, their neighbours, and any others; the high half counts for pointers only. */
const NAMED = [
  0, 1, 2, 3, 4, 6, 10, 16, 17, 22, 26, 38, 50, 51, 52, 53, 0x5401, 0x5412, 0xffffffff,
].concat([0x10000000, 0x7e020000, 0o10000, 0o20000, 0o60000, 0o100000, 0o140000]);
const argument = fc.tuple(
  fc.oneof(fc.constantFrom(...NAMED), fc.integer({ min: 0, max: 0xffffffff })),
  fc.constantFrom(0n, 1n << 32n, 0xffffffffn << 32n),
);
const args = fc
  .array(argument, { minLength: 6, maxLength: 6 })
  .map((values) => values.map(([low, high]) => BigInt(low) | high));

test.each(["none", "host"] as const)(
  "the profile says what the table says, network %s",
  (network) => {
    const profile = dockerSeccompProfile(network, "x64");
    const isIntel = (name: SyscallName): boolean => syscallNumber("x86_64", name) !== null;
    const all = (Object.keys(SYSCALL_NUMBERS) as SyscallName[]).filter(isIntel);
    const checked = syscallTable({ network })
      .filter(({ verdict }) => verdict.kind === "value" || verdict.kind === "bits")
      .flatMap(({ calls }) => calls.filter(isIntel));
    for (const name of all) {
      const zeros = Array.from({ length: 6 }, () => 0n);
      expect([name, read(profile, name, zeros)]).toEqual([name, wanted(network, name, zeros)]);
    }
    fc.assert(
      fc.property(fc.constantFrom(...checked), args, (name, values) => {
        expect([name, read(profile, name, values)]).toEqual([name, wanted(network, name, values)]);
      }),
      { numRuns: 3000 },
    );
  },
);

test("the profile knows the machine's architecture only", () => {
  expect(dockerSeccompProfile("none", "x64").architectures).toEqual(["SCMP_ARCH_X86_64"]);
  expect(dockerSeccompProfile("none", "arm64").architectures).toEqual(["SCMP_ARCH_AARCH64"]);
});

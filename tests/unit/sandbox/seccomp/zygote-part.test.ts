import { expect, test } from "bun:test";

import { AUDIT_ARCH, buildSeccompFilter } from "../../../../src/sandbox/seccomp/build.ts";
import { interpret } from "../../../../src/sandbox/seccomp/interpret.ts";
import { SYSCALL_NUMBER_LAST, syscallNumber } from "../../../../src/sandbox/seccomp/numbers.ts";

const OPENED = [
  "unshare",
  "setns",
  "mount",
  "move_mount",
  "sethostname",
  "setgroups",
  "setresuid",
  "setresgid",
  "capset",
  "prctl",
] as const;

test.each(["x86_64", "aarch64"] as const)(
  "buildSeccompFilter() opens for a zygote exactly what enclosing children needs on %s",
  (arch) => {
    // Which arguments of these are let through is a matter of `table.test.ts`.
    const ARGUMENTS = new Map<number | null, readonly bigint[]>([
      [syscallNumber(arch, "unshare"), [0x20000000n]],
      [syscallNumber(arch, "setns"), [0n, 0x20000000n]],
      [syscallNumber(arch, "mount"), [0n, 0n, 0n, 6n]],
      [syscallNumber(arch, "prctl"), [24n]],
    ]);
    const decide = (part: "whole" | "zygote", nr: number): string =>
      interpret(buildSeccompFilter({ arch, network: "none", part }), {
        nr,
        arch: AUDIT_ARCH[arch],
        args: ARGUMENTS.get(nr) ?? [],
      }).kind;
    const opened = new Set<number | null>(OPENED.map((name) => syscallNumber(arch, name)));
    for (let nr = 0; nr <= SYSCALL_NUMBER_LAST + 1; nr++) {
      expect([nr, decide("zygote", nr)]).toEqual([
        nr,
        opened.has(nr) ? "allow" : decide("whole", nr),
      ]);
    }
  },
);

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
    const decide = (part: "whole" | "zygote", nr: number): string =>
      interpret(buildSeccompFilter({ arch, network: "none", part }), {
        nr,
        arch: AUDIT_ARCH[arch],
        args: [0n, 0n, 0n, 0n, 0n, 0n],
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

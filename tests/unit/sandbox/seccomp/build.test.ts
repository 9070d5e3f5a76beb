/** The compiled program decides every call as the table read plainly does. */

import { expect, test } from "bun:test";

import * as fc from "fast-check";

import { Assembler, type Label } from "../../../../src/sandbox/seccomp/assembler.ts";
import { AUDIT_ARCH, buildSeccompFilter } from "../../../../src/sandbox/seccomp/build.ts";
import { interpret, trace } from "../../../../src/sandbox/seccomp/interpret.ts";
import { type SeccompArch, SYSCALL_NUMBERS } from "../../../../src/sandbox/seccomp/numbers.ts";
import { type Action, isAction } from "../../../../src/sandbox/seccomp/policy.ts";
import { syscallTable } from "../../../../src/sandbox/seccomp/table.ts";
import { decide } from "./reference.ts";

const arch = fc.constantFrom<SeccompArch>("x86_64", "aarch64");
const network = fc.constantFrom<"none" | "host">("none", "host");
const part = fc.constantFrom<"whole" | "early" | "late" | "zygote">(
  "whole",
  "early",
  "late",
  "zygote",
);
/** Every call of either architecture whose verdict depends on an argument. */
const CHECKED_NUMBERS = (["none", "host"] as const)
  .flatMap((n) => [
    ...syscallTable({ network: n }),
    ...syscallTable({ network: n, part: "zygote" }),
  ])
  .filter(({ verdict }) => !isAction(verdict))
  .flatMap(({ calls }) => calls.flatMap((name) => [...SYSCALL_NUMBERS[name]]))
  .filter((number) => number !== null);
const nr = fc.oneof(
  { weight: 8, arbitrary: fc.nat(480) },
  { weight: 1, arbitrary: fc.integer() },
  { weight: 12, arbitrary: fc.constantFrom(...CHECKED_NUMBERS) },
  { weight: 2, arbitrary: fc.constantFrom(429, 126, 91) },
);
const word = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  fc.nat(70).map(BigInt),
  fc.constantFrom(0x5401n, 0x5412n, 0x541cn, 0x802c542an, 0xffffffffn, 0x41555856n, 0o60000n),
  // Namespaces as a zygote unshares them, and one too many.
  fc.constantFrom(0x0e020000n, 0x10020000n, 0x1e020000n, 0x5e020000n, 0x7e020000n, 0x1e020080n),
  // A pointer whose low half is nothing.
  fc.constantFrom(1n << 32n, 0xffff_0000_0000n),
  fc.nat(31).map((bit) => 1n << BigInt(bit)),
  fc.nat(31).map((bit) => (1n << BigInt(bit)) | (0xfn << 32n)),
);
const args = fc.array(word, { minLength: 6, maxLength: 6 });

const built = new Map<string, Uint8Array>();

function filterOf(options: Parameters<typeof buildSeccompFilter>[0]): Uint8Array {
  const key = JSON.stringify(options);
  const filter = built.get(key) ?? buildSeccompFilter(options);
  built.set(key, filter);
  return filter;
}

test("buildSeccompFilter() compiles what the table says", () => {
  fc.assert(
    fc.property(arch, network, part, nr, args, (a, n, p, number, words) => {
      const filter = filterOf({ arch: a, network: n, part: p });
      const is = interpret(filter, { nr: number, arch: AUDIT_ARCH[a], args: words });
      expect(is).toEqual(decide(a, { network: n, part: p }, number, words));
    }),
    { numRuns: 6_000 },
  );
});

/** What the kernel obeys when two filters are installed. */
function stricter(a: Action, b: Action): Action {
  const rank = { kill: 2, errno: 1, allow: 0 };
  return rank[b.kind] > rank[a.kind] ? b : a;
}

test("the early and the late filter together are the whole one", () => {
  fc.assert(
    fc.property(arch, network, nr, args, (a, n, number, words) => {
      const call = { nr: number, arch: AUDIT_ARCH[a], args: words };
      const early = interpret(filterOf({ arch: a, network: n, part: "early" }), call);
      const late = interpret(filterOf({ arch: a, network: n, part: "late" }), call);
      const whole = interpret(filterOf({ arch: a, network: n }), call);
      expect(stricter(early, late)).toEqual(whole);
    }),
    { numRuns: 6_000 },
  );
});

test("the early filter leaves open what the late one closes, and no more", () => {
  const early = filterOf({ arch: "x86_64", network: "none", part: "early" });
  const whole = filterOf({ arch: "x86_64", network: "none" });
  const open: string[] = [];
  for (let number = 0; number < 500; number += 1) {
    for (let option = 0n; option < 80n; option += 1n) {
      const call = { nr: number, arch: AUDIT_ARCH.x86_64, args: [option, option, option] };
      const was = interpret(early, call).kind;
      if (was === interpret(whole, call).kind) continue;
      open.push(number === 157 ? `prctl ${option}` : String(number));
    }
  }
  // capset, prctl(PR_SET_SECCOMP), move_mount
  expect([...new Set(open)]).toEqual(["126", "prctl 22", "429"]);
});

test("the program is short, and balanced, because its length is time on the path of a cold start", () => {
  for (const a of ["x86_64", "aarch64"] as const) {
    const filter = filterOf({ arch: a, network: "host" });
    expect(filter.length % 8).toBe(0);
    expect(filter.length / 8).toBeLessThanOrEqual(230);
    expect(filterOf({ arch: a, network: "host", part: "late" }).length / 8).toBeLessThanOrEqual(20);
    let steps = 0;
    for (let number = 0; number < 470; number += 1) {
      steps += trace(filter, { nr: number, arch: AUDIT_ARCH[a], args: [] }).steps;
    }
    expect(steps / 470).toBeLessThan(12);
  }
});

test("Assembler splits jumps that lead further than 255 instructions", () => {
  for (const distance of [0, 1, 254, 255, 256, 257, 1000, 4000]) {
    const out = new Assembler();
    const yes: Label = { line: null };
    const no: Label = { line: null };
    out.plain(0x20, 0);
    out.jump(0x35, 100, yes, no);
    for (let index = 0; index < distance; index += 1) out.plain(0x06, 0x80000000);
    out.place(no);
    out.plain(0x06, 0x00050001);
    out.place(yes);
    out.plain(0x06, 0x7fff0000);
    const filter = out.assemble();
    expect(interpret(filter, { nr: 100, arch: 0, args: [] }).kind).toBe("allow");
    expect(interpret(filter, { nr: 99, arch: 0, args: [] })).toEqual({ kind: "errno", errno: 1 });
  }
});

test("Assembler refuses a label that is missing, behind its use or placed twice, and too long a program", () => {
  const missing = new Assembler();
  missing.jump(0x15, 1, { line: null }, null);
  missing.plain(0x06, 0);
  expect(() => missing.assemble()).toThrow("missing");
  const backwards = new Assembler();
  const label: Label = { line: null };
  backwards.place(label);
  backwards.plain(0x20, 0);
  backwards.jump(0x15, 1, label, null);
  backwards.plain(0x06, 0);
  expect(() => backwards.assemble()).toThrow("before its use");
  expect(() => backwards.place(label)).toThrow("twice");
  const long = new Assembler();
  for (let index = 0; index <= 4096; index += 1) long.plain(0x06, 0);
  expect(() => long.assemble()).toThrow("more than BPF takes");
});

test("interpret() refuses what the kernel would refuse", () => {
  const call = { nr: 0, arch: 0, args: [] };
  const run = (...bytes: number[]): unknown => interpret(new Uint8Array(bytes), call);
  expect(() => run()).toThrow("length");
  expect(() => run(6, 0, 0)).toThrow("length");
  expect(() => run(0x20, 0, 0, 0, 0, 0, 0, 0)).toThrow("past its end");
  expect(() => run(0x20, 0, 0, 0, 2, 0, 0, 0)).toThrow("offset 2");
  expect(() => run(0x20, 0, 0, 0, 64, 0, 0, 0)).toThrow("offset 64");
  expect(() => run(0xff, 0, 0, 0, 0, 0, 0, 0)).toThrow("unknown code");
  expect(() => run(6, 0, 0, 0, 1, 0, 0, 0)).toThrow("no action");
});

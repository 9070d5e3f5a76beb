/** What people hand in: bundles, package lists, configurations; and two compilers against their models. */

import * as fc from "fast-check";
import { existsSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { OlError } from "../../src/common/errors.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { parseRequirements } from "../../src/packages/requirements.ts";
import { unpackBundle } from "../../src/registry/bundle.ts";
import { AUDIT_ARCH, buildSeccompFilter } from "../../src/sandbox/seccomp/build.ts";
import { interpret } from "../../src/sandbox/seccomp/interpret.ts";
import type { SeccompArch } from "../../src/sandbox/seccomp/numbers.ts";
import { ImportCache } from "../../src/zygote/import-cache.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { bundleOf, HANDLER, type RawEntry } from "../unit/registry/archives.ts";
import { decide } from "../unit/sandbox/seccomp/reference.ts";
import { FakeClock, FakeHost, MIB, packages } from "../unit/zygote/fake-host.ts";
import { type Target, target } from "./target.ts";

function demand(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

function demandCode(error: unknown, code: string): void {
  if (!(error instanceof OlError) || error.code !== code) throw error;
}

const path = fc.oneof(
  fc.constantFrom("a", "a/b", "../x", "/etc/x", "a/../../x", "./a", "a/./b", "lambda_func.py", ""),
  fc.string({ maxLength: 30 }),
);
const entry: fc.Arbitrary<RawEntry> = fc.record(
  {
    path,
    body: fc.string({ maxLength: 600 }),
    type: fc.constantFrom("0", "1", "2", "3", "4", "5", "6", "7", "x", "g", "L", "K", "S", "\0"),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    linkpath: path,
    size: fc.oneof(fc.nat(2_000), fc.constant(0o77777777777)),
    badChecksum: fc.boolean(),
  },
  { requiredKeys: ["path"] },
);
const damage = fc.array(fc.tuple(fc.nat(100_000), fc.nat(255)), { maxLength: 4 });

function checkTree(dir: string): void {
  for (const name of readdirSync(dir)) {
    const stat = lstatSync(join(dir, name));
    demand(stat.isFile() || stat.isDirectory(), `${name} is neither file nor directory`);
    demand((stat.mode & 0o7022) === 0, `${name} has mode ${stat.mode.toString(8)}`);
    if (stat.isDirectory()) checkTree(join(dir, name));
  }
}

/** A bundle unpacks into plain files inside its directory, or is refused and leaves nothing. */
const bundles = fc.asyncProperty(
  fc.array(entry, { maxLength: 6 }),
  damage,
  fc.boolean(),
  async (entries, flips, withHandler) => {
    using temp = tempDir("ol-fuzz-");
    const data = Buffer.from(bundleOf(...(withHandler ? [HANDLER] : []), ...entries));
    for (const [at, value] of flips) data[at % data.length] = value;
    writeFileSync(temp.join("bundle"), data);
    mkdirSync(temp.join("top/out"), { recursive: true });
    try {
      await unpackBundle(temp.join("bundle"), temp.join("top/out"));
      checkTree(temp.join("top/out"));
    } catch (error) {
      demandCode(error, "bundle_invalid");
      demand(readdirSync(temp.join("top/out")).length === 0, "something was left in it");
    }
    demand(readdirSync(temp.join("top")).join() === "out", "something was left beside it");
    demand(readdirSync(temp.path).length === 2, "something was written above it");
    demand(!existsSync("/etc/x"), "it wrote to /etc");
  },
);

const listText = fc.array(
  fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.constantFrom("requests>=2", "PIL:pillow==10.4.0", "-e .", "--index-url x", "a @ file:///x"),
    fc.string({
      unit: fc.constantFrom(...Array.from("ab1-_.[]()<>=!~;:,@/\\ #$`'\"&|{}%\t\v\0\u2028")),
      maxLength: 40,
    }),
  ),
  { maxLength: 6 },
);

/** What pip is given are requirements by name: no option, path, URL or second line. */
const lists = fc.property(listText, fc.boolean(), (lines, isImport) => {
  const file = isImport ? "packages.txt" : "requirements.txt";
  try {
    for (const { line, name } of parseRequirements(lines.join("\n"), file)) {
      demand(/^[A-Za-z0-9]/.test(line), `a line begins with ${JSON.stringify(line[0])}`);
      demand(/^[\x20-\x7e]*$/.test(line), "a line has characters of another kind");
      demand(!/[\\@]|:\/\/|file:/.test(line), `a line refers to a place: ${line}`);
      demand(/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name), `the name ${name} is not normal`);
    }
  } catch (error) {
    demandCode(error, "package_install");
  }
});

const GOOD_CONFIG = {
  worker_port: 8080,
  worker_dir: "/w",
  registry_dir: "/r",
  sock_base_path: "/b",
  Pkgs_dir: "/p",
  limits: { mem_mb: 64 },
};
const settings = fc.dictionary(
  fc.oneof(
    fc.constantFrom(...Object.keys(GOOD_CONFIG), "limits", "max_queue", "docker", "sandbox_config"),
    fc.constantFrom("__proto__", "constructor", "toString"),
    fc.string({ maxLength: 10 }),
  ),
  fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 0, 2 ** 53, 1e308, "", "/x", null)),
  { maxKeys: 4 },
);

/** A configuration is refused by name, or is complete and cannot be changed. */
const configs = fc.property(fc.oneof(fc.jsonValue(), settings), fc.boolean(), (value, isMerged) => {
  const json: unknown =
    isMerged && typeof value === "object" ? { ...GOOD_CONFIG, ...(value as object) } : value;
  try {
    const config = parseConfig(json, "the fuzzer");
    demand(Object.isFrozen(config) && Object.isFrozen(config.limits), "it can be changed");
    demand(Number.isSafeInteger(config.limits.memoryMaxBytes), "a size is not a number");
    demand(Number.isSafeInteger(config.memoryPoolBytes), "the pool's size is not a number");
  } catch (error) {
    demandCode(error, "config_invalid");
  }
});

const arch = fc.constantFrom<SeccompArch>("x86_64", "aarch64");
const network = fc.constantFrom<"none" | "host">("none", "host");
const part = fc.constantFrom<"whole" | "early" | "late" | "zygote">(
  "whole",
  "early",
  "late",
  "zygote",
);
const argument = fc.oneof(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.nat(70).map(BigInt));
const filters = new Map<string, Uint8Array>();

/** The compiled filter does what the table says, as read by its interpreter. */
const seccomp = fc.property(
  arch,
  network,
  part,
  fc.oneof(fc.nat(480), fc.integer()),
  fc.array(argument, { minLength: 6, maxLength: 6 }),
  (a, n, p, nr, args) => {
    const key = `${a} ${n} ${p}`;
    const filter = filters.get(key) ?? buildSeccompFilter({ arch: a, network: n, part: p });
    filters.set(key, filter);
    const is = interpret(filter, { nr, arch: AUDIT_ARCH[a], args });
    const wanted = decide(a, { network: n, part: p }, nr, args);
    demand(JSON.stringify(is) === JSON.stringify(wanted), `call ${nr}: ${JSON.stringify(is)}`);
  },
);

const NAMES = ["a", "b", "c", "d", "e", "f"] as const;
const requires = fc
  .array(fc.subarray([1, 2, 3, 4, 5]), { minLength: 6, maxLength: 6 })
  .map((all) =>
    Object.fromEntries(
      NAMES.map((name, index) => [
        name,
        (all[index] ?? []).filter((to) => to > index).map((to) => NAMES[to] ?? "a"),
      ]),
    ),
  );

/** A zygote that is chosen holds nothing that the lambda does not declare or thereby need. */
const planner = fc.asyncProperty(
  requires,
  fc.array(fc.subarray([...NAMES], { minLength: 1 }), { minLength: 2, maxLength: 6 }),
  fc.array(fc.nat(5), { maxLength: 40 }),
  async (edges, lambdas, calls) => {
    const host = new FakeHost();
    const clock = new FakeClock();
    const cache = new ImportCache({ host, clock, budgetBytes: 60 * MIB });
    for (const index of calls) {
      clock.ms += 50;
      const need = packages(lambdas[index % lambdas.length] ?? [], edges);
      const lease = cache.acquire(need);
      const allowed = new Set(need.dirs.map(({ dir }) => dir));
      for (const name of host.importsOf(lease.zygote)) {
        demand(allowed.has(name), `${name} was imported and is not declared`);
      }
      lease.release(lease.imports.length * 100_000);
      await cache.settled();
    }
    demand(host.violations.length === 0, "a zygote in use was ended");
    await cache.close();
    demand(host.zygotes.size === 0, "zygotes are left");
  },
);

/** Targets of this file. */
export const INPUT_TARGETS: readonly Target[] = [
  target("bundles", 60, bundles),
  target("package lists", 500, lists),
  target("configurations", 300, configs),
  target("seccomp filters", 1_000, seccomp),
  target("zygote planner", 60, planner),
];

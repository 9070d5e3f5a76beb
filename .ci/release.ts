/**
 * Makes a release in `dist/`: one executable per kind of machine, their checksums, and the licences of
 * what they contain. The runtimes of other machines come from the npm registry.
 *
 *     bun .ci/release.ts [--out=DIR] [TARGET…]
 */

import {
  chmodSync,
  copyFileSync,
  createReadStream,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";

import packageJson from "../package.json";
import { compile, ROOT } from "./compile.ts";
import { bundledPackages, renderLicences } from "./licences.ts";

/** Kinds of machines; `musl` is for Alpine and the like, and needs libstdc++ there. */
const TARGETS = ["linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl"] as const;

async function sha256(path: string): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
  return hash.digest("hex");
}

/** Fills an empty directory; everything in it but the checksums is named in the checksums. */
async function fill(dir: string, targets: readonly string[]): Promise<void> {
  const sums: string[] = [];
  const add = async (name: string): Promise<void> => {
    sums.push(`${await sha256(join(dir, name))}  ${name}\n`);
  };
  for (const target of targets) {
    const name = `ol-${packageJson.version}-${target}`;
    // Source maps are in the executable; the compiler also writes them beside it.
    const work = join(dir, "work");
    await compile(join(work, name), target);
    renameSync(join(work, name), join(dir, name));
    rmSync(work, { recursive: true });
    await add(name);
    const sizeMb = Math.round(statSync(join(dir, name)).size / 1e6);
    process.stdout.write(`${name}: ${sizeMb} MB\n`);
  }
  const packages = await bundledPackages();
  writeFileSync(join(dir, "LICENCES.txt"), renderLicences(packages));
  copyFileSync(join(ROOT, "LICENSE"), join(dir, "LICENSE"));
  for (const name of ["LICENCES.txt", "LICENSE"]) await add(name);
  writeFileSync(join(dir, "SHA256SUMS"), sums.join(""));
  process.stdout.write(`LICENCES.txt: Bun and ${packages.length} packages\n`);
}

/** Puts the release together beside its place, then swaps it in: there is never half of one. */
async function release(out: string, targets: readonly string[]): Promise<void> {
  mkdirSync(dirname(out), { recursive: true });
  const staging = mkdtempSync(join(dirname(out), `.${basename(out)}-`));
  try {
    await fill(staging, targets);
    chmodSync(staging, 0o755);
    rmSync(out, { recursive: true, force: true });
    renameSync(staging, out);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  process.stdout.write(`Check with: cd ${out} && sha256sum --check SHA256SUMS\n`);
}

const { values, positionals } = parseArgs({
  options: { out: { type: "string", default: join(ROOT, "dist") } },
  allowPositionals: true,
});
const unknown = positionals.find((name) => !(TARGETS as readonly string[]).includes(name));
if (unknown !== undefined) {
  process.stderr.write(`Cannot build for ${unknown}: known are ${TARGETS.join(", ")}\n`);
  process.exit(2);
}
await release(resolve(values.out), positionals.length > 0 ? positionals : TARGETS);

/** That the base is what this lane is about: musl, and nothing of another libc. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { readBaseManifest } from "../../src/base/base.ts";
import { olDone } from "../helpers/ol.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { BUILD_TIMEOUT_MS, ensureMuslBase, MUSL_LOADER, MUSL_PYTHON } from "./musl-base.ts";

setDefaultTimeout(BUILD_TIMEOUT_MS);

/** Start of an ELF file. */
const MAGIC = Buffer.from("\x7fELF");
/** Names of versions of symbols, which whatever is linked with glibc asks for. */
const GLIBC = Buffer.from("GLIBC_2.");

const isGlibc = (file: string): boolean => readFileSync(file).includes(GLIBC);

function programsBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => {
    const path = join(dir, name);
    return lstatSync(path).isFile() && readFileSync(path).subarray(0, 4).equals(MAGIC);
  });
}

test("the base has musl, and its interpreter asks for nothing else", () => {
  const { root } = ensureMuslBase();
  const programs = programsBelow(root).toSorted();
  expect(programs.map((name) => `/${name}`)).toEqual([MUSL_LOADER, MUSL_PYTHON]);
  expect(programs.filter((name) => isGlibc(join(root, name)))).toEqual([]);
  // The control: the machine's own interpreter.
  expect(isGlibc("/usr/bin/python3")).toBe(true);
  const words = Bun.spawnSync(["readelf", "-lW", "-d", join(root, MUSL_PYTHON)]).stdout.toString();
  expect(/interpreter: ([^\]]+)\]/u.exec(words)?.[1]).toBe(MUSL_LOADER);
  // Debian's name of musl; its loader knows itself by it.
  expect([...words.matchAll(/\(NEEDED\).*\[([^\]]+)\]/gu)].map(([, name]) => name)).toEqual([
    "libc.so",
  ]);
});

test("ol new finds the Python, names the libc, and takes nothing along that was not there", async () => {
  using dir = tempDir("ol-musl-");
  const cluster = dir.join("cluster");
  await olDone(["new", `--cluster=${cluster}`, `--base=dir:${ensureMuslBase().root}`]);
  const { root, ...manifest } = readBaseManifest(join(cluster, "base"));
  expect(manifest).toMatchObject({
    kind: "dir",
    binds: [],
    python: "/usr/bin/python3",
    libc: "musl",
  });
  expect(existsSync(join(root, MUSL_LOADER))).toBe(true);
  expect(programsBelow(root)).toHaveLength(2);
});

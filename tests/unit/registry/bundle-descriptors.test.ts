/** Found by fuzzing: no bundle, good or bad, may keep the file open that was written last. */

import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { unpackBundle } from "../../../src/registry/bundle.ts";
import { bundleOf, HANDLER, TempDir } from "./archives.ts";

const descriptors = (): number => readdirSync("/proc/self/fd").length;

test("unpackBundle() keeps no descriptor when the archive breaks off within a file", async () => {
  using temp = new TempDir();
  // Random bytes cannot be packed, so that half of the bundle is half of the file.
  const body = crypto.getRandomValues(new Uint8Array(60_000));
  const whole = bundleOf(HANDLER, { path: "data", body });
  const bundle = join(temp.path, "bundle");
  writeFileSync(bundle, whole.subarray(0, whole.length / 2));
  mkdirSync(join(temp.path, "out"));
  const tryOnce = async (): Promise<unknown> =>
    await unpackBundle(bundle, join(temp.path, "out")).catch((error: unknown) => error);
  // The first one opens what the runtime keeps.
  await tryOnce();
  const before = descriptors();
  for (let index = 0; index < 10; index++) {
    expect(await tryOnce()).toMatchObject({ code: "bundle_invalid" });
  }
  expect(descriptors()).toBe(before);
});

test("unpackBundle() keeps no descriptor when the last file is empty", async () => {
  using temp = new TempDir();
  const bundle = join(temp.path, "bundle");
  writeFileSync(bundle, bundleOf(HANDLER, { path: "package/__init__.py" }));
  const unpack = async (name: string): Promise<void> => {
    const out = join(temp.path, name);
    mkdirSync(out);
    expect((await unpackBundle(bundle, out)).files).toBe(2);
  };
  await unpack("first");
  const before = descriptors();
  for (let index = 0; index < 10; index++) await unpack(`out-${index}`);
  expect(descriptors()).toBe(before);
});

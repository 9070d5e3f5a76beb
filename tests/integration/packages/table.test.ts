/**
 * Packages that people use, from the real index. What was installed stays in `CACHE_DIR` between runs, so
 * that only the first one downloads.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { PipInstaller } from "../../../src/packages/pip-installer.ts";
import { CACHE_DIR } from "../../helpers/paths.ts";
import { REAL_PACKAGES } from "../../helpers/real-packages.ts";
import { canInstall, Workbench } from "./fixture.ts";

const TIMEOUT_MS = 300_000;
describe.skipIf(!canInstall)("packages from the real index", () => {
  const bench = new Workbench(join(CACHE_DIR, "packages-table"));
  let installer: PipInstaller;
  beforeAll(async () => {
    installer = await bench.open();
  });
  afterAll(() => {
    bench.close();
  });

  test.each(REAL_PACKAGES)(
    "%j works",
    async (packages, program, expected) => {
      const installed = await installer.ensure(bench.code({ "packages.txt": packages }), packages);
      expect(await bench.python(installed, program)).toBe(expected);
    },
    TIMEOUT_MS,
  );
});

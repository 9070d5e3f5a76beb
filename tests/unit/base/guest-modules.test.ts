/** The check of a base asks for everything that the guest imports, or a worker would fail on that base instead. */

import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { GUEST_MODULES } from "../../../src/base/python-check.ts";

const GUEST_DIR = join(import.meta.dir, "../../../src/guest");

test("GUEST_MODULES are those that the guest's files import", () => {
  const files = readdirSync(GUEST_DIR).filter((name) => name.endsWith(".py"));
  const own = new Set(files.map((name) => basename(name, ".py")));
  const imported = files
    .flatMap((name) => readFileSync(join(GUEST_DIR, name), "utf8").split("\n"))
    .map((line) => /^import ([\w.]+)/.exec(line)?.[1])
    .filter((name) => name !== undefined && !own.has(name));
  expect(new Set(imported)).toEqual(new Set(GUEST_MODULES));
});

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CONFIG_FILE_MAX_BYTES } from "../../../src/common/limits.ts";
import { checkConfigPaths, readConfigJson } from "../../../src/config/load.ts";
import { parseConfig } from "../../../src/config/parse.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ol-config-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const invalid = (pattern: RegExp) =>
  expect.objectContaining({ code: "config_invalid", message: expect.stringMatching(pattern) });

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return null;
}

describe("readConfigJson()", () => {
  test("returns the decoded file", () => {
    const path = join(dir, "a.json");
    writeFileSync(path, '{"timing": true}');
    expect(readConfigJson(path)).toEqual({ timing: true });
  });

  test("says that a file is not JSON, and why", () => {
    const path = join(dir, "a.json");
    for (const text of ["", "{", "not json", '{"a": NaN}']) {
      writeFileSync(path, text);
      expect(thrownBy(() => readConfigJson(path))).toEqual(invalid(/a\.json: it is not JSON \(/));
    }
  });

  test("says that a file is missing, is a directory, or is too large", () => {
    expect(thrownBy(() => readConfigJson(join(dir, "none")))).toEqual(invalid(/ENOENT/));
    expect(thrownBy(() => readConfigJson(dir))).toEqual(invalid(/it is not a file/));
    const huge = join(dir, "huge.json");
    writeFileSync(huge, "");
    truncateSync(huge, CONFIG_FILE_MAX_BYTES + 1);
    expect(thrownBy(() => readConfigJson(huge))).toEqual(invalid(/allowed are \d+/));
  });
});

const configOf = () =>
  parseConfig(
    {
      worker_port: 1,
      worker_dir: join(dir, "w"),
      registry_dir: join(dir, "registry"),
      sock_base_path: join(dir, "base"),
      Pkgs_dir: join(dir, "packages"),
    },
    "x",
  );

describe("checkConfigPaths()", () => {
  test("accepts directories that exist", () => {
    for (const name of ["registry", "base", "packages"]) mkdirSync(join(dir, name));
    expect(() => checkConfigPaths(configOf(), "x")).not.toThrow();
  });

  test("names the key whose directory is missing or is a file", () => {
    expect(thrownBy(() => checkConfigPaths(configOf(), "x"))).toEqual(
      invalid(/"sock_base_path" is ".*", which does not exist/),
    );
    for (const name of ["base", "packages"]) mkdirSync(join(dir, name));
    writeFileSync(join(dir, "registry"), "");
    expect(thrownBy(() => checkConfigPaths(configOf(), "x"))).toEqual(
      invalid(/"registry_dir" is ".*", which is not a directory/),
    );
  });
});

import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { OlError } from "../../../src/common/errors.ts";
import { closureDirs, parseReport } from "../../../src/packages/report.ts";

const item = (name: string, version: string, more: Record<string, unknown> = {}) => ({
  download_info: {
    url: `https://files.test/${name}-${version}-py3-none-any.whl`,
    archive_info: { hashes: { sha256: "ab".repeat(32) } },
  },
  is_direct: false,
  metadata: { name, version },
  ...more,
});
const report = (...install: unknown[]) => JSON.stringify({ version: "1", install });
const dir = (json: string, environment: string) => parseReport(json, environment)[0]?.dir;
const edge = (name: string, requires: string[]) => ({
  ...item(name, "1"),
  metadata: { name, version: "1", requires_dist: requires },
});

test("parseReport() reads names, hashes, kinds and the edges inside the resolution", () => {
  const flask = item("Flask", "3.0.3");
  const json = report(
    {
      ...flask,
      metadata: { ...flask.metadata, requires_dist: ["Werkzeug (>=3.0)", "absent; extra == 'x'"] },
    },
    {
      ...item("werkzeug", "3.0.4"),
      download_info: {
        url: "https://files.test/werkzeug-3.0.4.tar.gz#x",
        archive_info: { hashes: { md5: "00", sha512: "cd".repeat(64) } },
      },
    },
  );
  const [first, second] = parseReport(json, "cp311");
  expect(first).toMatchObject({
    name: "flask",
    version: "3.0.3",
    kind: "wheel",
    requires: ["werkzeug"],
  });
  expect(first?.dir).toMatch(/^flask-3\.0\.3-[0-9a-f]{20}$/);
  expect(second).toMatchObject({ kind: "source", hash: `sha512:${"cd".repeat(64)}` });
});

test("parseReport() gives another directory for another artifact or Python", () => {
  const other = item("a", "1");
  other.download_info.archive_info.hashes.sha256 = "cd".repeat(32);
  expect(dir(report(item("a", "1")), "x")).toBe(dir(report(item("a", "1")), "x"));
  expect(dir(report(item("a", "1")), "x")).not.toBe(dir(report(item("a", "1")), "y"));
  expect(dir(report(item("a", "1")), "x")).not.toBe(dir(report(other), "x"));
});

test.each([
  ["not JSON", "{", "JSON"],
  ["no list", "{}", "no list"],
  ["a path as its name", report(item("../../etc", "1")), "cannot be one"],
  ["a path as its version", report(item("a", "../1")), "cannot be one"],
  ["an option as its version", report(item("a", "1 --index-url=x")), "cannot be one"],
  ["an artifact by URL", report(item("a", "1", { is_direct: true })), "by URL"],
  [
    "a directory",
    report(item("a", "1", { download_info: { url: "file:///x", dir_info: {} } })),
    "by URL",
  ],
  ["no hash", report(item("a", "1", { download_info: { url: "x", archive_info: {} } })), "hash"],
  ["one name twice", report(item("a", "1"), item("A", "2")), "twice"],
])("parseReport() refuses %s", (_, json, word) => {
  expect(() => parseReport(json, "x")).toThrow(word);
});

test("parseReport() throws nothing but package_install, whatever it is fed", () => {
  fc.assert(
    fc.property(fc.json(), fc.json(), (a, b) => {
      try {
        parseReport(`{"install":[${a},${b}]}`, "x");
      } catch (error) {
        expect(error).toBeInstanceOf(OlError);
      }
    }),
  );
});

test("closureDirs() follows edges through cycles, its own directory first", () => {
  const all = parseReport(
    report(edge("a", ["c"]), edge("b", []), edge("c", ["d"]), edge("d", ["a"])),
    "x",
  );
  const named = (dirs: readonly string[]) => dirs.map((one) => one.slice(0, 1)).join("");
  expect(all.map((one) => named(closureDirs(one, all)))).toEqual(["acd", "b", "cad", "dac"]);
});

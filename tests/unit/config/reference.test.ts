import { expect, test } from "bun:test";
import { renderConfigReference } from "../../../src/config/reference.ts";
import { CONFIG_SCHEMA } from "../../../src/config/schema.ts";

test("renderConfigReference() has one complete row per key, groups by their members", () => {
  const lines = renderConfigReference().trimEnd().split("\n").slice(2);
  for (const line of lines) {
    const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
    expect(cells).toHaveLength(6);
    expect(cells[3]).not.toBe("");
    expect(cells[4]).not.toBe("");
  }
  const keys = lines.map((line) => line.split("`")[1]);
  const groups = ["limits", "installer_limits", "docker"];
  const expected = Object.keys(CONFIG_SCHEMA.properties).filter((key) => !groups.includes(key));
  expect(keys).toEqual(expect.arrayContaining([...expected, "limits.mem_mb", "docker.socket"]));
  expect(new Set(keys).size).toBe(keys.length);
});

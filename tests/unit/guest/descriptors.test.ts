/** How a zygote moves descriptors for a child: whatever their numbers, and with none free. */

import { expect, test } from "bun:test";
import { join } from "node:path";

import { PROJECT_DIR } from "../../helpers/paths.ts";

const PROGRAM = join(import.meta.dir, "descriptors.py");
const GUEST_DIR = join(PROJECT_DIR, "src/guest");

/** What one case of the program printed. */
function run(name: string, argument: unknown = null): unknown {
  const argv = ["python3", "-I", "-B", PROGRAM, GUEST_DIR, name, JSON.stringify(argument)];
  const { stdout, stderr, exitCode } = Bun.spawnSync(argv, { stdin: "ignore" });
  if (exitCode !== 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString());
}

test.each([
  ["low", [7, 8, 9]],
  ["the places that they are moved to, in another order", [5, 4, 3]],
  ["1,000 and more", [1000, 1001, 1002]],
  ["1,000 and more, in another order", [1002, 5, 1000, 1001]],
  ["beyond the usual soft limit", [1023, 1022, 3]],
] as const)("keep_only() keeps what it is given and no more: %s", (_, numbers) => {
  const final = numbers.map((__, index) => 3 + index);
  expect(run("keep", numbers)).toEqual({
    final,
    names: numbers.map(String),
    open: final,
    inherited: [],
  });
});

test("keep_only() finds room among 1,500 open descriptors", () => {
  expect(run("crowded")).toEqual({
    final: [3, 4, 5, 6, 7],
    names: ["1001", "1000", "1499", "4", "3"],
    open: [3, 4, 5, 6, 7],
    inherited: [],
  });
});

test("keep_only() fails with EMFILE where no number is free, and has changed nothing", () => {
  expect(run("full")).toEqual([24, true]);
});

test.each(["fork", "second pipe"])("take_network() closes its pipes where the %s fails", (what) => {
  expect(run("network", what)).toBe(true);
});

import { expect, test } from "bun:test";

import { readConsole } from "../../vm/console.ts";

const suites = [
  { name: "one", paths: ["a"], timeoutSec: 1 },
  { name: "two", paths: ["b"], timeoutSec: 1 },
];
const summary = (passed: number, skipped: number): string =>
  ` ${passed} pass\r\n ${skipped} skip\r\n 0 fail\r\nRan ${passed + skipped} tests across 1 file. [1ms]\r\n`;
const suite = (name: string, text: string, status = 0): string =>
  `@@vm begin ${name}\r\n${text}@@vm end ${name} ${status} 9.1\r\n`;
const BOOT = "SeaBIOS\r\n@@vm boot 4.25\r\n";
const DONE = "@@vm done\r\n";

test("readConsole() adds up the suites and reads the boot time", () => {
  const text = BOOT + suite("one", summary(3, 0)) + suite("two", summary(4, 0)) + DONE;
  expect(readConsole(text, suites)).toEqual({
    tally: { passed: 7, failed: 0, skipped: 0 },
    problems: [],
    failures: [],
    bootSec: 4.25,
  });
});

test.each([
  [
    "a suite without an end",
    `${BOOT}${suite("one", summary(1, 0))}@@vm begin two\r\n${DONE}`,
    "suite two did not end",
  ],
  ["a suite that never began", BOOT + suite("one", summary(1, 0)) + DONE, "suite two did not end"],
  ["a skip", BOOT + suite("one", summary(1, 0)) + suite("two", summary(1, 2)) + DONE, "2 skipped"],
  ["silence", BOOT + suite("one", summary(1, 0)) + suite("two", "") + DONE, "no summary"],
  [
    "a suite that was killed",
    BOOT + suite("one", summary(1, 0)) + suite("two", summary(1, 0), 124) + DONE,
    "exit status 124",
  ],
  [
    "a machine that stopped early",
    BOOT + suite("one", summary(1, 0)) + suite("two", summary(1, 0)),
    "did not come to its end",
  ],
])("readConsole() complains about %s", (_name, text, problem) => {
  const { problems } = readConsole(text, suites);
  expect(problems.join("\n")).toContain(problem);
});

test("readConsole() says that a kernel that panics never booted", () => {
  expect(readConsole("Kernel panic - not syncing\r\n", suites).bootSec).toBeNull();
});

/**
 * Which thread does what. A namespace belongs to a thread, so init may use what runs on the thread
 * that made it, and nothing else (see `src/sandbox/sock/init.ts`).
 */

import { describe, expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { readlink } from "node:fs/promises";

import { requires } from "../../helpers/requires.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { outputOf, ownProgram, startChild } from "../../unit/sys/child.ts";

const VIEWS = import.meta.resolve("./programs/namespace-views.ts");

const MAIN_THREAD = `${process.pid}/task/${process.pid}`;

describe("the thread of", () => {
  test("a synchronous call of node:fs is the one that makes the call", () => {
    expect(readlinkSync("/proc/thread-self")).toBe(MAIN_THREAD);
  });

  test("a promise of node:fs is one of the pool", async () => {
    const other = await readlink("/proc/thread-self");
    expect(other).toStartWith(`${process.pid}/task/`);
    expect(other).not.toBe(MAIN_THREAD);
  });

  test("a child's start is the one that spawns it", async () => {
    // A parent-death signal comes with the end of that thread.
    const child = Bun.spawn(["sleep", "60"]);
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8");
    expect(children.trim().split(" ")).toContain(String(child.pid));
    child.kill("SIGKILL");
    await child.exited;
  });
});

describe("after unshare(CLONE_NEWNS)", () => {
  requires({ root: true })(
    "synchronous calls and children are in the new namespace, the thread pool is not",
    async () => {
      using dir = tempDir();
      const views: unknown = JSON.parse(await outputOf(startChild(ownProgram(VIEWS, dir.path))));
      expect(views).toEqual({
        leftTheHost: true,
        synchronous: ["inside"],
        child: "new",
        pool: "host's",
        poolDir: [],
        poolFile: "ENOENT",
      });
    },
  );
});

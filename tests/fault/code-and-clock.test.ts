/** Code that changes under running calls, and clocks that jump: FAULTS E, rows 6 and 7. */

import { afterAll, afterEach, beforeAll, describe, expect, setSystemTime, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { systemClock } from "../../src/common/clock.ts";
import { silentLogger } from "../../src/common/log.ts";
import { VersionSource } from "../../src/lambda/versions.ts";
import { DirectoryRegistry } from "../../src/registry/directory.ts";
import { removeShared, tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";

const says = (word: string): string =>
  `import time\ndef handler(event):\n    time.sleep(event or 0)\n    return "${word}"\n`;

describe("code", () => {
  let worker: TestWorker;

  beforeAll(async () => {
    worker = await startWorker({ registry_cache_ms: 50 });
  });
  afterAll(() => worker.stop());

  async function until(name: string, wanted: string | number): Promise<void> {
    await waitFor(async () => {
      const { status, text } = await worker.call(name);
      return status === wanted || text === wanted;
    }, `${name} answers ${wanted}`);
  }

  test("that changes during a call does not change that call", async () => {
    worker.lambda("changes", says("one"));
    await until("changes", '"one"');
    const running = worker.call("changes", 1.5);
    await waitFor(async () => (await worker.stats()).sandboxes.busy === 1, "it runs");
    worker.lambda("changes", says("two"));
    await until("changes", '"two"');
    expect(await running).toMatchObject({ status: 200, text: '"one"' });
  });

  test("that changes twice within a second ends as it was written last", async () => {
    worker.lambda("twice", says("aaa"));
    await until("twice", '"aaa"');
    worker.lambda("twice", says("bbb"));
    await worker.call("twice");
    // As long and in the same tick of the clock.
    worker.lambda("twice", says("ccc"));
    await until("twice", '"ccc"');
    for (let index = 0; index < 20; index++) {
      expect((await worker.call("twice")).text).toBe('"ccc"');
    }
  });

  test("that is deleted while it runs lets that call end, then there is no such lambda", async () => {
    worker.lambda("deleted", says("here"));
    await until("deleted", '"here"');
    const running = worker.call("deleted", 1.5);
    await waitFor(async () => (await worker.stats()).sandboxes.busy === 1, "it runs");
    rmSync(join(worker.cluster, "registry/deleted"), { recursive: true });
    await until("deleted", 404);
    expect(await running).toMatchObject({ status: 200, text: '"here"' });
    worker.lambda("deleted", says("again"));
    await until("deleted", '"again"');
  });
});

describe("a wall clock that jumps", () => {
  afterEach(() => {
    setSystemTime();
  });

  test.each(["2001-01-01", "2090-01-01"])(
    "to %s neither keeps nor mixes up versions of code",
    async (date) => {
      const temp = tempDir();
      const dir = temp.join("registry/lambda");
      mkdirSync(dir, { recursive: true });
      const write = (word: string): void => writeFileSync(join(dir, "lambda_func.py"), says(word));
      write("one");
      const source = new VersionSource("lambda", {
        registry: new DirectoryRegistry(temp.join("registry")),
        installer: null,
        codeRoot: temp.join("code"),
        cacheMs: 0,
        clock: systemClock,
        log: silentLogger,
      });
      const first = await source.current();
      setSystemTime(new Date(date));
      expect((await source.current())?.codeDir).toBe(first?.codeDir ?? "none");
      first?.acquire();
      write("two is longer");
      const second = await source.current();
      expect(second?.codeDir).not.toBe(first?.codeDir);
      expect(await Bun.file(join(first?.codeDir ?? "", "lambda_func.py")).text()).toBe(says("one"));
      source.close();
      await removeShared(temp);
    },
  );
});

/**
 * The packages that people use, inside real sandboxes: installed by the worker from the real index, imported
 * first in a fresh sandbox and then by forking from a zygote that has them. The answers must be the same.
 * What was installed stays in `CACHE_DIR` between runs, so that only the first one downloads.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { olDone } from "../helpers/ol.ts";
import { startPackagesWorker } from "../helpers/packages-worker.ts";
import { REAL_PACKAGES } from "../helpers/real-packages.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type Answer, type TestWorker } from "../helpers/worker.ts";

/** Downloads included, on a busy machine. */
const TIMEOUT_MS = 300_000;

/** Well above what the worker itself takes as the least that a zygote should save. */
const WORTH_A_ZYGOTE_MS = 10;

let worker: TestWorker;

const importMs = ({ headers }: Answer): number =>
  Number(/import;dur=([\d.]+)/.exec(headers.get("server-timing") ?? "")?.[1]);

/** Runs a program when it is loaded, as people import; the handler returns what it printed. */
const lambdaOf = (program: string): string =>
  [
    "import contextlib, io",
    "OUT = io.StringIO()",
    "with contextlib.redirect_stdout(OUT):",
    `    exec(compile(${JSON.stringify(program)}, "program", "exec"), {"__name__": "program"})`,
    "def handler(event):",
    "    return OUT.getvalue().strip()",
    "",
  ].join("\n");

interface Zygotes {
  readonly zygotes: readonly {
    readonly id: string;
    readonly parent: string | null;
    readonly imports: readonly string[];
    readonly hits: number;
    readonly memoryBytes: number;
    readonly importUs: number;
  }[];
}

beforeAll(async () => {
  worker = await startPackagesWorker({
    handler_cache_size: 0,
  });
});
afterAll(() => worker.stop());

describe("packages from the real index in a sandbox", () => {
  test.each(REAL_PACKAGES.map((row, index) => [...row, `real-${index}`] as const))(
    "%j works, fresh and from a zygote",
    async (packages, program, expected, name) => {
      worker.lambda(name, lambdaOf(program), { "packages.txt": packages });
      const first = await worker.call(name);
      expect([first.status, first.text]).toEqual([200, JSON.stringify(expected)]);
      expect(first.headers.get("x-ol-start")).not.toBe("warm");
      if (importMs(first) < WORTH_A_ZYGOTE_MS) return;
      // Whoever imports for a while is worth a zygote: later cold calls come from it.
      const later = await waitFor(async () => {
        const answer = await worker.call(name);
        expect([answer.status, answer.text]).toEqual([200, JSON.stringify(expected)]);
        return answer.headers.get("x-ol-start") === "zygote" ? answer : null;
      }, "a call is served from a zygote");
      expect(later.headers.get("server-timing")).not.toContain("install;");
    },
    TIMEOUT_MS,
  );

  test("the tree is told in /stats and by ol status: who is below whom, hits, memory, time", async () => {
    const { zygotes } = (await worker.stats()) as unknown as Zygotes;
    const text = await olDone(["status", `--cluster=${worker.cluster}`, "--json"]);
    const { workers } = JSON.parse(text) as { workers: [{ stats: Zygotes }] };
    // One more may have come about meanwhile.
    const shownIds = workers[0].stats.zygotes.map(({ id }) => id);
    expect(shownIds).toEqual(expect.arrayContaining(zygotes.map(({ id }) => id)));
    const of = (module: string) => zygotes.filter(({ imports }) => imports.includes(module));
    for (const module of ["numpy", "pandas", "requests", "google.protobuf"]) {
      expect([module, of(module).length > 0]).toEqual([module, true]);
    }
    for (const { id, parent, memoryBytes, importUs } of zygotes) {
      expect(zygotes.some((one) => one.id === parent) || parent === null).toBe(true);
      expect([id, memoryBytes > 2 ** 20, importUs > 0]).toEqual([id, true, true]);
    }
    // Some are there for what is below them only.
    expect(zygotes.some(({ hits }) => hits > 0)).toBe(true);
    const shown = await olDone(["status", `--cluster=${worker.cluster}`]);
    expect(shown).toMatch(/^ {4}requests: \d+ hits, \d+ MiB, imports \d+ ms, \d+ live$/m);
  });
});

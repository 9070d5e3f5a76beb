/**
 * Runs every experiment once with tiny sizes against the compiled executable and reads what came out.
 * Fails when the suite is broken, never because something was slow.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { EXPERIMENTS } from "../../bench/experiments/index.ts";
import { readResults, type ResultFile } from "../../bench/harness/results.ts";
import { FloorProcess, type FloorVariant } from "../../bench/reference/floor-process.ts";
import { HttpProcess } from "../../bench/reference/http-process.ts";

/**
 * Milliseconds after which the suite hangs. It takes under a minute on 2 cores; a busy machine, on which it took
 * three, must not fail it.
 */
const SUITE_HANGS_MS = 300_000;

const SCRIPT = resolve(import.meta.dir, "../../bench/run.ts");

/** Experiments that may be left out here, with what each needs. */
const MAY_BE_LEFT_OUT: Readonly<Record<string, string>> = {
  "docker-engine": "a Docker daemon, or dockerd to start one",
};

let dir = "";
let results: ResultFile | null = null;
let run = { exitCode: -1, stdout: "", stderr: "" };

async function bench(...args: string[]): Promise<typeof run> {
  const child = Bun.spawn([process.execPath, SCRIPT, ...args], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { exitCode, stdout, stderr };
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "bench-smoke-"));
  const out = join(dir, "smoke.json");
  run = await bench("smoke", "--out", out);
  if (run.exitCode === 2) throw new Error(run.stderr);
  results = await readResults(out);
}, SUITE_HANGS_MS);

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("bench smoke", () => {
  test("exits with 0", () => {
    expect(`${run.exitCode} ${run.exitCode === 0 ? "" : run.stderr.slice(-4000)}`).toBe("0 ");
  });

  test.each(EXPERIMENTS.map(({ name }) => name))("%s measures something", (name) => {
    const experiment = results?.experiments.find((each) => each.name === name);
    expect(experiment?.failed).toBeNull();
    const samples = experiment?.series.flatMap(({ rounds }) => rounds.flat()) ?? [];
    if (samples.length === 0 && name in MAY_BE_LEFT_OUT) {
      expect(experiment?.skipped).not.toEqual([]);
      return;
    }
    expect(samples.length).toBeGreaterThan(0);
    expect(samples.filter((value) => !Number.isFinite(value))).toEqual([]);
  });

  test("records the machine", () => {
    expect(results?.machine.kernel).toMatch(/^\d+\.\d+/);
    expect(results?.machine.cores).toBeGreaterThan(0);
    expect(results?.machine.versions["ol"]).not.toBe("not there");
  });

  test("report, bars and compare read what was written", async () => {
    const file = join(dir, "smoke.json");
    const report = await bench("report", file);
    expect(report).toMatchObject({ exitCode: 0, stderr: "" });
    expect(readFileSync(report.stdout.split("\n")[0] ?? "", "utf8")).toContain("</html>");
    expect((await bench("compare", file, file)).exitCode).toBe(0);
    // 1 is a missed bar, 3 one that smoke sizes do not measure; 2 would be a broken command.
    expect([0, 1, 3]).toContain((await bench("bars", file)).exitCode);
  });
});

describe("command line", () => {
  test("refuses an unknown experiment with the known ones", async () => {
    const { exitCode, stderr } = await bench("cold-stat");
    expect(exitCode).toBe(2);
    expect(stderr).toContain('Cannot run "cold-stat": the experiments are');
  });

  test("refuses a missing executable with the command that makes it", async () => {
    const { exitCode, stderr } = await bench("leaks", "--ol", join(dir, "nothing"));
    expect(exitCode).toBe(2);
    expect(stderr).toContain("npm run build");
  });
});

describe("references", () => {
  const VARIANTS: FloorVariant[] = [
    ...(["fork", "namespaces", "userns", "network", "spawn"] as const),
    ...(["python", "python-isolated", "chroot-python"] as const),
  ];

  test("the floor times every variant and reports what fails", async () => {
    const floor = new FloorProcess(mkdtempSync(join(dir, "floor-")));
    for (const variant of VARIANTS) {
      const samples = await floor.time(variant, 2, 0);
      expect(samples).toHaveLength(2);
      expect(Math.min(...samples)).toBeGreaterThan(0);
    }
    expect(await floor.timeImport(["decimal"], [], 1)).toHaveLength(1);
    expect(await floor.timeImport(["no_such_module"], [], 1).catch(String)).toContain(
      "wait status",
    );
    await floor.close();
  });

  test.each(["bun", "elysia"] as const)("the %s server echoes", async (kind) => {
    const server = await HttpProcess.start(kind);
    const base = `http://127.0.0.1:${server.port}`;
    const answer = await fetch(`${base}/runLambda/echo`, { method: "POST", body: '{"a":1}' });
    expect(await answer.text()).toBe('{"a":1}');
    expect(await (await fetch(`${base}/status`)).text()).toBe("ready");
    await server.close();
  });
});

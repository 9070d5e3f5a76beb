import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { directoriesToWatch, listInstances, readFrom } from "../../../src/cli/log-source.ts";
import { readLogTail, readyTimeoutMs, stopTimeoutMs } from "../../../src/cli/worker-process.ts";
import { type ClusterPaths, clusterPaths } from "../../../src/cluster/paths.ts";
import {
  LOG_TAIL_MAX_LINES,
  WORKER_READY_TIMEOUT_MS,
  WORKER_STOP_TIMEOUT_MS,
} from "../../../src/common/limits.ts";
import { type TempDir, tempDir } from "../../helpers/temp-dir.ts";

let temp: TempDir;
let paths: ClusterPaths;
beforeEach(() => {
  temp = tempDir();
  paths = clusterPaths(temp.path);
  for (const dir of [paths.configDir, paths.logs, paths.workers]) mkdirSync(dir);
});
afterEach(() => temp.remove());

function makeInstance(worker: number, id: string): string {
  const dir = join(paths.worker(worker).dir, "handlers", "hello", id);
  mkdirSync(dir, { recursive: true });
  return dir;
}

const textFrom = (path: string, from = 0): { text: string; next: number } => {
  let text = "";
  const next = readFrom(path, from, (piece) => {
    text += new TextDecoder().decode(piece);
  });
  return { text, next };
};

describe("listInstances()", () => {
  test("lists the instances of all workers, oldest first, and nothing else", async () => {
    expect(listInstances(paths, "hello")).toEqual([]);
    makeInstance(1, "b");
    // Birth times have the resolution of the kernel's clock tick.
    const first = listInstances(paths, "hello")[0]?.bornMs ?? 0;
    for (let n = 0; (listInstances(paths, "hello").at(-1)?.bornMs ?? 0) <= first; n++) {
      rmSync(join(paths.worker(0).dir, "handlers", "hello"), { recursive: true, force: true });
      makeInstance(0, "a");
      if (n > 10_000) throw new Error("the clock of the file system stands still");
    }
    writeFileSync(join(paths.worker(0).dir, "handlers", "hello", "file"), "");
    const found = listInstances(paths, "hello").map(({ worker, instance }) => [worker, instance]);
    expect(found).toEqual([
      ["worker-1", "b"],
      ["worker-0", "a"],
    ]);
    expect(listInstances(paths, "other")).toEqual([]);
  });

  test("watches what exists and what may come to exist", () => {
    const dir = makeInstance(0, "a");
    const below = (worker: string): string[] => [
      worker,
      join(worker, "handlers"),
      join(worker, "handlers", "hello"),
    ];
    expect(directoriesToWatch(paths, "hello")).toEqual([
      paths.workers,
      ...below(paths.worker(0).dir),
      ...below(paths.worker(0).spareDir),
      dir,
    ]);
  });
});

describe("readFrom()", () => {
  test("reads on from where it stopped, in pieces", () => {
    const path = temp.join("stdout");
    writeFileSync(path, "a".repeat(200_000));
    const first = textFrom(path);
    expect(first).toEqual({ text: "a".repeat(200_000), next: 200_000 });
    expect(textFrom(path, first.next)).toEqual({ text: "", next: 200_000 });
    appendFileSync(path, "more");
    expect(textFrom(path, first.next)).toEqual({ text: "more", next: 200_004 });
  });

  test("reads nothing of what a lambda could put in its place", () => {
    const path = temp.join("stdout");
    expect(textFrom(path, 7)).toEqual({ text: "", next: 7 });
    symlinkSync("/etc/passwd", path);
    expect(textFrom(path).text).toBe("");
    rmSync(path);
    expect(Bun.spawnSync(["mkfifo", path]).exitCode).toBe(0);
    expect(textFrom(path).text).toBe("");
    rmSync(path);
    mkdirSync(path);
    expect(textFrom(path).text).toBe("");
  });
});

describe("readLogTail()", () => {
  test("shows the last lines after the offset, indented", () => {
    const path = temp.join("worker-0.out");
    expect(readLogTail(path, 0)).toBe("");
    writeFileSync(path, "old\nnew 1\n\nnew 2\n");
    expect(readLogTail(path, 4)).toBe("  new 1\n  new 2");
    // Moved away since the start: what is there now is all new.
    expect(readLogTail(path, 99)).toBe("  old\n  new 1\n  new 2");
    writeFileSync(path, "line\n".repeat(100_000));
    expect(readLogTail(path, 0).split("\n")).toHaveLength(LOG_TAIL_MAX_LINES);
  });
});

test("stopTimeoutMs() leaves calls the time that they may take", () => {
  expect(stopTimeoutMs(null)).toBe(WORKER_STOP_TIMEOUT_MS);
  expect(stopTimeoutMs(1_000)).toBe(WORKER_STOP_TIMEOUT_MS);
  expect(stopTimeoutMs(600_000)).toBeGreaterThan(600_000);
});

test("readyTimeoutMs() leaves a worker the time in which it may install packages", () => {
  const installerLimits = {
    memoryMaxBytes: 1,
    processesMax: 1,
    cpuPercent: 1,
    runtimeMs: 300_000,
    scratchMaxBytes: 1,
  };
  expect(readyTimeoutMs({ installerLimits, startupPackages: [] })).toBe(WORKER_READY_TIMEOUT_MS);
  const withPackages = readyTimeoutMs({ installerLimits, startupPackages: ["numpy"] });
  expect(withPackages).toBe(WORKER_READY_TIMEOUT_MS + 2 * 300_000);
});

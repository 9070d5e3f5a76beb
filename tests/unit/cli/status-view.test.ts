import { describe, expect, test } from "bun:test";
import type { StatusReport, WorkerReport } from "../../../src/cli/status-report.ts";
import { renderScreen, renderStatus } from "../../../src/cli/status-view.ts";
import type { WorkerStats, ZygoteStats } from "../../../src/lambda/contract.ts";

const MIB = 1024 * 1024;
const STAGE = { count: 0, p50: 0, p90: 0, p99: 0 };

function stats(changes: Partial<WorkerStats> = {}): WorkerStats {
  return {
    uptimeMs: 3_725_000,
    calls: {
      total: 1_200,
      inFlight: 3,
      queued: 4,
      byStart: { warm: 0, unpaused: 0, zygote: 0, fresh: 0 },
      byError: {},
    },
    stages: {
      total: STAGE,
      queue: STAGE,
      pull: STAGE,
      install: STAGE,
      sandbox: STAGE,
      import: STAGE,
      handler: STAGE,
      guest: STAGE,
    },
    caches: {
      handler: { hits: 999, misses: 1, evictions: 0 },
      import: { hits: 0, misses: 0, evictions: 0 },
      install: { hits: 1, misses: 3, failures: 0 },
    },
    sandboxes: { live: 9, paused: 5, busy: 2, outOfMemoryKills: 0, cpuUs: 0, throttledUs: 0 },
    memory: {
      poolBytes: 1_000 * MIB,
      reservedBytes: 256 * MIB,
      zygoteBytes: 0,
      workerRssBytes: 90 * MIB,
    },
    lambdas: 7,
    zygotes: [],
    ...changes,
  };
}

const zygote = (id: string, parent: string | null, imports: string[]): ZygoteStats => ({
  id,
  parent,
  imports,
  packages: imports.map((name) => `${name}-1.0-0123456789abcdef`),
  hits: 12,
  memoryBytes: 34 * MIB,
  importUs: 56_000,
  children: 0,
  liveSandboxes: 2,
});

const worker = (changes: Partial<WorkerReport> = {}): WorkerReport => ({
  worker: "worker-0",
  url: "http://localhost:8080/status",
  pid: 4242,
  ok: true,
  answer: "ready [200 OK]",
  stats: stats(),
  ...changes,
});

const report = (...workers: WorkerReport[]): StatusReport => ({
  workers,
  docker: { containers: [], reason: null, ok: true },
  registry: null,
  ok: true,
});

describe("renderStatus()", () => {
  test("begins with upstream's lines, whatever is known beyond", () => {
    const second = worker({ worker: "worker-1", url: "http://localhost:8081/status" });
    expect(renderStatus(report(worker(), second), null)).toStartWith(
      "Worker Pings:\n  http://localhost:8080/status => ready [200 OK]\n" +
        "  http://localhost:8081/status => ready [200 OK]\n\nCluster containers:\n  (none)\n",
    );
  });

  test("shows lambdas, instances, memory and cache hits of each worker", () => {
    const line = renderStatus(report(worker()), null)
      .split("\n")
      .find((it) => it.includes("worker-0"));
    expect(line?.trim().split(/ {2,}/)).toEqual([
      "worker-0",
      "1h02m",
      "7",
      "9/2/5",
      "1200",
      "3+4",
      "256 MiB of 1000 MiB",
      "90 MiB",
      "99% of 1000",
      "-",
      "25% of 4",
    ]);
  });

  test("tells calls per second where it knows an earlier state of the same process", () => {
    const before = report(worker());
    const calls = { ...stats().calls, total: 1_500 };
    const later = worker({ stats: stats({ uptimeMs: 3_727_000, calls }) });
    expect(renderStatus(report(later), before)).toContain("1500 (150/s)");
    expect(renderStatus(report({ ...later, pid: 4243 }), before)).not.toContain("/s)");
  });

  test("draws zygotes below the one that they were forked from", () => {
    const zygotes = [
      zygote("2", "1", ["pandas"]),
      zygote("1", "root", ["numpy"]),
      zygote("3", "root", Array.from("abcdefgh")),
    ];
    const text = renderStatus(report(worker({ stats: stats({ zygotes }) })), null);
    const about = "12 hits, 34 MiB, imports 56 ms, 2 live";
    expect(text).toEndWith(
      `\nImport cache:\n  worker-0\n    numpy: ${about}\n` +
        `      pandas: ${about}\n    a b c d e f and 2 more: ${about}\n`,
    );
  });

  test("does without figures where no worker gave any", () => {
    const gone = worker({ ok: false, answer: "connection refused", stats: null });
    expect(renderStatus(report(gone), null)).toEndWith("Cluster containers:\n  (none)\n");
    expect(renderStatus(report(), null)).toContain("  (no worker was started)\n");
  });
});

test("renderScreen() cuts lines to the terminal and clears what was there", () => {
  expect(renderScreen("abcdef\ngh\ni\n", 3, 4)).toBe("\u001b[Habcd\u001b[K\ngh\u001b[K\n\u001b[J");
});

test("renderStatus() shows the cluster's own store where one was started", () => {
  const registry = { url: "http://localhost:9000/_status", ok: true, answer: "ready [200 OK]" };
  const docker = { containers: [], reason: null, ok: true };
  const withStore: StatusReport = { workers: [], docker, registry, ok: true };
  expect(renderStatus(withStore, null)).toContain(
    "\nRegistry:\n  http://localhost:9000/_status => ready [200 OK]\n",
  );
  expect(renderStatus({ ...withStore, registry: null }, null)).not.toContain("Registry:");
});

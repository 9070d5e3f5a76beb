/** `/metrics`: the page as Prometheus reads it, and its figures against those of `/stats`. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { WorkerStats } from "../../../src/lambda/contract.ts";
import { promtool } from "../../helpers/promtool.ts";
import { BODY_MAX_BYTES, type Harness, startHarness } from "./harness.ts";

let harness: Harness;

beforeAll(async () => {
  harness = await startHarness();
  for (const body of ["1", "2", "{nope"]) {
    await fetch(`${harness.url}/run/echo`, { method: "POST", body });
  }
  await fetch(`${harness.url}/run/nobody`, { method: "POST", body: "1" });
});
afterAll(() => harness.stop());

/** Samples by name with labels, as written; throws on a line that is not of the text format. */
function parsePage(page: string): { samples: Map<string, number>; types: Map<string, string> } {
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  for (const line of page.split("\n")) {
    if (line === "" || line.startsWith("# HELP ")) continue;
    const type = /^# TYPE ([a-z_]+) (counter|gauge)$/.exec(line);
    if (type?.[1] !== undefined && type[2] !== undefined) {
      if (types.has(type[1])) throw new Error(`two TYPE lines for ${type[1]}`);
      types.set(type[1], type[2]);
      continue;
    }
    const sample = /^([a-z_]+(?:\{[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*\})?) (\S+)$/.exec(line);
    if (sample?.[1] === undefined) throw new Error(`not a sample: ${line}`);
    if (samples.has(sample[1])) throw new Error(`twice: ${sample[1]}`);
    samples.set(sample[1], Number(sample[2]));
  }
  return { samples, types };
}

async function scrape(): Promise<string> {
  const answer = await fetch(`${harness.url}/metrics`);
  expect(answer.status).toBe(200);
  return answer.text();
}

describe("GET /metrics", () => {
  test("is served as the Prometheus text format with the common headers", async () => {
    const answer = await fetch(`${harness.url}/metrics`);
    expect(answer.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    await answer.text();
  });

  test("holds the figures of /stats", async () => {
    const stats = (await (await fetch(`${harness.url}/stats`)).json()) as WorkerStats;
    const { samples, types } = parsePage(await scrape());
    expect(samples.get("ol_calls_total")).toBe(stats.calls.total);
    expect(samples.get('ol_call_starts_total{start="warm"}')).toBe(2);
    expect(samples.get('ol_call_starts_total{start="fresh"}')).toBe(0);
    expect(samples.get('ol_call_errors_total{code="bad_request"}')).toBe(1);
    expect(samples.get('ol_call_errors_total{code="lambda_unknown"}')).toBe(1);
    expect(samples.get('ol_stage_calls_total{stage="total"}')).toBe(4);
    expect(samples.get('ol_stage_duration_seconds{stage="total",percentile="99"}')).toBe(
      stats.stages.total.p99 / 1e6,
    );
    expect(samples.get('ol_cache_hits_total{cache="install"}')).toBe(4);
    expect(samples.get("ol_sandboxes_paused")).toBe(2);
    expect(samples.get("ol_zygotes_memory_bytes")).toBe(4096);
    expect(types.get("ol_calls_total")).toBe("counter");
    expect(types.get("ol_sandboxes")).toBe("gauge");
  });

  test.each([
    ["a body that is too large", "body_too_large", 413, "echo", "x".repeat(BODY_MAX_BYTES + 1)],
    ["a name that cannot be one", "lambda_name_invalid", 404, "a%20b", "1"],
    ["a call while draining", "draining", 503, "echo", "1"],
  ] as const)("counts %s, which no lambda sees", async (_, code, status, name, body) => {
    const series = `ol_call_errors_total{code="${code}"}`;
    const before = parsePage(await scrape()).samples;
    harness.service.draining = code === "draining";
    const answer = await fetch(`${harness.url}/run/${name}`, { method: "POST", body });
    expect(answer.status).toBe(status);
    const { samples } = parsePage(await scrape());
    harness.service.draining = false;
    const grown = (of: string): number => (samples.get(of) ?? 0) - (before.get(of) ?? 0);
    expect([grown(series), grown("ol_calls_total")]).toEqual([1, 1]);
  });

  test("counts from the worker's state, not from scrapes", async () => {
    const first = parsePage(await scrape()).samples;
    const second = parsePage(await scrape()).samples;
    expect(second).toEqual(first);
  });

  test("answers scrapes that come at once with whole pages", async () => {
    const pages = await Promise.all(Array.from({ length: 20 }, scrape));
    expect(new Set(pages).size).toBe(1);
  });

  test("does not mix two servers of one process", async () => {
    const other = await startHarness();
    const page = await (await fetch(`${other.url}/metrics`)).text();
    await other.stop();
    expect(parsePage(page).samples.get("ol_calls_total")).toBe(0);
  });

  test("passes promtool's check", async () => {
    const child = Bun.spawn([promtool(), "check", "metrics"], {
      stdin: new TextEncoder().encode(await scrape()),
      stdout: "pipe",
      stderr: "pipe",
    });
    const said = (await child.stdout.text()) + (await child.stderr.text());
    expect([await child.exited, said]).toEqual([0, ""]);
  });
});

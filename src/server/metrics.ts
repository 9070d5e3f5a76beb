/**
 * `GET /metrics`: the figures of `/stats` for Prometheus. Values are read when they are asked for, so
 * that counting costs a call nothing beyond what `/stats` needs. Loaded with the first scrape.
 */

import { Counter, Gauge, Registry } from "prom-client";
import type { WorkerStats } from "../lambda/contract.ts";

/** One time series: its labels and its value. */
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

interface Metric {
  readonly kind: "counter" | "gauge";
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly read: (stats: WorkerStats) => readonly Sample[];
}

const plain = (value: number): readonly Sample[] => [[{}, value]];

/** One sample per entry of a record, the key as the label. */
function byLabel(label: string, values: Readonly<Record<string, number>>): readonly Sample[] {
  return Object.entries(values).map(([key, value]) => [{ [label]: key }, value]);
}

const US_PER_SEC = 1_000_000;

function percentiles({ stages }: WorkerStats): readonly Sample[] {
  return Object.entries(stages).flatMap(([stage, { p50, p90, p99 }]): Sample[] => [
    [{ stage, percentile: "50" }, p50 / US_PER_SEC],
    [{ stage, percentile: "90" }, p90 / US_PER_SEC],
    [{ stage, percentile: "99" }, p99 / US_PER_SEC],
  ]);
}

function stageCounts({ stages }: WorkerStats): readonly Sample[] {
  return Object.entries(stages).map(([stage, { count }]) => [{ stage }, count]);
}

function counter(
  name: string,
  help: string,
  labels: readonly string[],
  read: Metric["read"],
): Metric {
  return { kind: "counter", name, help, labels, read };
}

function gauge(
  name: string,
  help: string,
  labels: readonly string[],
  read: Metric["read"],
): Metric {
  return { kind: "gauge", name, help, labels, read };
}

/** Every metric of a worker; names follow the conventions that `promtool check metrics` checks. */
const METRICS: readonly Metric[] = [
  gauge("ol_uptime_seconds", "Time since the worker started.", [], (s) => plain(s.uptimeMs / 1000)),
  gauge("ol_lambdas", "Lambdas with state in this worker.", [], (s) => plain(s.lambdas)),

  counter("ol_calls_total", "Calls answered, refused ones included.", [], (s) =>
    plain(s.calls.total),
  ),
  gauge("ol_calls_in_flight", "Calls being handled.", [], (s) => plain(s.calls.inFlight)),
  gauge("ol_calls_queued", "Calls waiting for an instance.", [], (s) => plain(s.calls.queued)),
  counter("ol_call_starts_total", "Calls by how they got their sandbox.", ["start"], (s) =>
    byLabel("start", s.calls.byStart),
  ),
  counter("ol_call_errors_total", "Failed calls by error code.", ["code"], (s) =>
    byLabel("code", s.calls.byError),
  ),
  counter("ol_stage_calls_total", "Calls measured per stage.", ["stage"], stageCounts),
  gauge(
    "ol_stage_duration_seconds",
    "Duration of each stage of a call, as percentiles since the start.",
    ["stage", "percentile"],
    percentiles,
  ),

  counter("ol_cache_hits_total", "Lookups that a cache answered.", ["cache"], ({ caches }) =>
    byLabel("cache", {
      handler: caches.handler.hits,
      import: caches.import.hits,
      install: caches.install.hits,
    }),
  ),
  counter("ol_cache_misses_total", "Lookups that a cache did not.", ["cache"], ({ caches }) =>
    byLabel("cache", {
      handler: caches.handler.misses,
      import: caches.import.misses,
      install: caches.install.misses,
    }),
  ),
  counter("ol_cache_evictions_total", "Entries a cache gave up.", ["cache"], ({ caches }) =>
    byLabel("cache", { handler: caches.handler.evictions, import: caches.import.evictions }),
  ),
  counter("ol_install_failures_total", "Package installations that failed.", [], (s) =>
    plain(s.caches.install.failures),
  ),

  gauge("ol_sandboxes", "Sandboxes that exist.", [], (s) => plain(s.sandboxes.live)),
  gauge("ol_sandboxes_paused", "Sandboxes that are frozen.", [], (s) => plain(s.sandboxes.paused)),
  gauge("ol_sandboxes_busy", "Sandboxes with a call.", [], (s) => plain(s.sandboxes.busy)),
  gauge("ol_zygotes", "Entries of the import cache.", [], (s) => plain(s.zygotes.length)),
  gauge("ol_zygotes_memory_bytes", "Memory of the import cache.", [], (s) =>
    plain(s.zygotes.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)),
  ),
  gauge("ol_memory_pool_bytes", "Memory that sandboxes may use.", [], (s) =>
    plain(s.memory.poolBytes),
  ),
  gauge("ol_memory_reserved_bytes", "Memory that is reserved for sandboxes.", [], (s) =>
    plain(s.memory.reservedBytes),
  ),
  gauge("ol_worker_resident_memory_bytes", "Memory of the worker process itself.", [], (s) =>
    plain(s.memory.workerRssBytes),
  ),
];

/** One page of metrics. */
export interface MetricsPage {
  /** Value of the `content-type` header. */
  readonly contentType: string;
  /** Prometheus text format. */
  readonly text: string;
}

/**
 * Each page has a registry of its own: the counting is done elsewhere, so there is no state to
 * keep, and two scrapes at once cannot mix their figures.
 *
 * @param stats figures of one moment
 * @returns them as a page
 */
export async function renderMetrics(stats: WorkerStats): Promise<MetricsPage> {
  const registry = new Registry();
  for (const { kind, name, help, labels, read } of METRICS) {
    const options = { name, help, labelNames: [...labels], registers: [registry] };
    const series = kind === "gauge" ? new Gauge(options) : new Counter(options);
    for (const [sampleLabels, value] of read(stats)) series.inc(sampleLabels, value);
  }
  return { contentType: registry.contentType, text: await registry.metrics() };
}

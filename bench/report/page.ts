/** One self-contained page: bars, pictures, tables, machine. Nothing is loaded from anywhere. */

import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

import { judge } from "../bars.ts";
import { formatValue } from "../harness/output.ts";
import {
  independentRounds,
  readResults,
  samplesOf,
  type ExperimentResult,
  type ResultFile,
  type Series,
} from "../harness/results.ts";
import { quantileInterval } from "../stats/bootstrap.ts";
import { summarize } from "../stats/quantiles.ts";
import { Random } from "../stats/random.ts";
import { picturesOf } from "./plans.ts";
import { escape } from "./svg.ts";

const STYLE = `
:root{color-scheme:light}
body{font:16px/1.5 system-ui,"Segoe UI","DejaVu Sans",sans-serif;color:#1b1f24;background:#fff;max-width:1000px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.3rem;margin-top:3rem;border-top:1px solid #d0d4d9;padding-top:1.2rem}
p.lead{color:#4d555e;margin-top:0}
table{border-collapse:collapse;font-size:.84rem;margin:1rem 0;width:100%}
th{text-align:left;font-weight:600;border-bottom:2px solid #1b1f24}th,td{padding:.25rem .6rem .25rem 0;vertical-align:top}
td{border-bottom:1px solid #e2e5e9}td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.pass::before{content:"\\2713\\00a0"}.fail{font-weight:700}.fail::before{content:"\\2717\\00a0"}.none{color:#4d555e}
figure{margin:1.2rem 0;overflow-x:auto}svg{max-width:100%;height:auto;border:1px solid #e2e5e9}
.notes{font-size:.88rem;color:#4d555e}details summary{cursor:pointer;font-size:.9rem}
.failed{border-left:4px solid #1b1f24;padding-left:.8rem}
`;

const cell = (value: string, numeric = true): string =>
  `<td${numeric ? ' class="n"' : ""}>${escape(value)}</td>`;

function barsTable(results: ResultFile): string {
  const rows = judge(results).map(({ bar, measured, verdict, clear }) => {
    const show = (value: number): string => formatValue(value, bar.unit);
    const word = clear || measured === null ? verdict : `${verdict}, interval spans the bar`;
    const status = `<td class="${verdict === "pass" || verdict === "fail" ? verdict : "none"}">${word}</td>`;
    const range = measured === null ? "" : `${show(measured.low)} to ${show(measured.high)}`;
    return `<tr>${status}${cell(bar.figure, false)}${cell(bar.reference, false)}${cell(`${bar.limit.kind} ${show(bar.limit.value)}`)}${cell(measured === null ? "-" : show(measured.estimate))}${cell(range)}</tr>`;
  });
  const head = `<tr><th></th><th>figure</th><th>against</th><th class="n">bar</th><th class="n">measured</th><th class="n">95 % interval</th></tr>`;
  return `<table>${head}${rows.join("")}</table>`;
}

function seriesRow(series: Series): string {
  const summary = summarize(samplesOf(series));
  const show = (value: number): string => formatValue(value, series.unit);
  const { low, high } = quantileInterval(
    independentRounds(series),
    0.5,
    new Random(`page/${series.id}`),
    400,
  );
  const few = summary.count < 8;
  const range = few ? "too few samples" : `${show(low)} to ${show(high)}`;
  const tail = (q: "p99" | "p999", needed: number): string =>
    summary.count < needed ? "-" : show(summary[q]);
  const figures = [
    `${summary.count}`,
    `${series.rounds.length}`,
    show(summary.p50),
    range,
    show(summary.p90),
    tail("p99", 100),
    tail("p999", 1000),
    show(summary.max),
    `${summary.outliers}`,
  ];
  return `<tr>${cell(series.label, false)}${cell(series.role, false)}${figures.map((each) => cell(each)).join("")}</tr>`;
}

function seriesTable(all: readonly Series[]): string {
  const names = ["n", "rounds", "p50", "95 % of p50", "p90", "p99", "p99.9", "max", "outliers"];
  const head = `<tr><th></th><th>role</th>${names.map((name) => `<th class="n">${name}</th>`).join("")}</tr>`;
  const rows = all.filter((series) => series.rounds.flat().length > 0).map(seriesRow);
  return `<details><summary>All ${rows.length} series</summary><table>${head}${rows.join("")}</table></details>`;
}

function list(title: string, items: readonly string[]): string {
  if (items.length === 0) return "";
  return `<p class="notes">${title}</p><ul class="notes">${items.map((item) => `<li>${escape(item)}</li>`).join("")}</ul>`;
}

function section(experiment: ExperimentResult, pictures: readonly string[]): string {
  const parameters = Object.entries(experiment.parameters).map(
    ([name, value]) => `${name}: ${value}`,
  );
  const failed =
    experiment.failed === null
      ? ""
      : `<p class="failed">This experiment ended early: ${escape(experiment.failed)}</p>`;
  return [
    `<h2 id="${experiment.name}">${escape(experiment.title)}</h2>`,
    `<p class="lead">${escape(experiment.question)}</p>`,
    failed,
    ...pictures.map((svg) => `<figure>${svg}</figure>`),
    seriesTable(experiment.series),
    `<p class="notes">${escape([...parameters, `load average before: ${experiment.loadBefore.toFixed(2)}`, `took ${(experiment.durationMs / 1000).toFixed(0)} s`].join("; "))}</p>`,
    list("Notes", experiment.notes),
    list("Left out", experiment.skipped),
  ].join("\n");
}

function machineTable({
  machine,
  startedAt,
  seed,
  scale,
  command,
  durationMs,
}: ResultFile): string {
  const { versions, ...facts } = machine;
  const rows: (readonly [string, string])[] = [
    ["started", startedAt],
    ["took", `${(durationMs / 1000).toFixed(0)} s`],
    ["command", command],
    ["seed", seed],
    ["scale", scale],
    ...Object.entries(facts).map(([name, value]) => {
      const shown = name === "memoryBytes" ? formatValue(Number(value), "bytes") : String(value);
      return [name, shown] as const;
    }),
    ...Object.entries(versions),
  ];
  return `<table>${rows.map(([name, value]) => `<tr><th>${escape(name)}</th>${cell(value, false)}</tr>`).join("")}</table>`;
}

/**
 * @param results one run
 * @param drawn SVG documents by experiment
 * @returns a whole HTML document
 */
function page(results: ResultFile, drawn: ReadonlyMap<string, readonly string[]>): string {
  const toc = results.experiments.map(
    ({ name, title }) => `<a href="#${name}">${escape(title)}</a>`,
  );
  const warning =
    results.scale === "full"
      ? ""
      : `<p class="failed">Scale "${results.scale}": fewer rounds than a figure to cite needs.</p>`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>OpenLambda benchmarks</title><style>${STYLE}</style></head><body>
<h1>OpenLambda benchmarks</h1>
<p class="lead">${escape(results.startedAt)}, commit ${escape(results.machine.commit)}, ${results.machine.cores} cores, ${escape(results.machine.cpu)}, Linux ${escape(results.machine.kernel)}</p>
${warning}<p>${toc.join(" · ")}</p>
<p>Medians with 95 % bootstrap intervals over rounds; arms of an experiment take turns in random order; outliers are counted and drawn, never dropped. The method is in <code>bench/README.md</code>.</p>
<h2 id="bars">Promises</h2>
${barsTable(results)}
${results.experiments.map((each) => section(each, drawn.get(each.name) ?? [])).join("\n")}
<h2 id="machine">Machine and run</h2>
${machineTable(results)}
</body></html>
`;
}

/**
 * Hatch ids must be unique on a page that holds several pictures.
 * @param svg a document
 * @param prefix of its ids
 */
function withOwnIds(svg: string, prefix: string): string {
  return svg.replaceAll(/(id="|url\(#)stack-/g, `$1${prefix}-`);
}

/**
 * @param path of a result file
 * @returns files written: the page, then the pictures, in a directory named as the result file
 */
export async function writeReport(path: string): Promise<string[]> {
  const results = await readResults(path);
  const dir = join(path, "..", basename(path).replace(/\.json$/, ""));
  mkdirSync(dir, { recursive: true });
  const drawn = new Map<string, string[]>();
  const files: string[] = [];
  for (const experiment of results.experiments) {
    const pictures = picturesOf(experiment);
    drawn.set(
      experiment.name,
      pictures.map(({ file, svg }) => withOwnIds(svg, file.replace(".svg", ""))),
    );
    for (const { file, svg } of pictures) {
      writeFileSync(join(dir, file), `<?xml version="1.0" encoding="UTF-8"?>\n${svg}\n`);
      files.push(join(dir, file));
    }
  }
  const html = join(dir, "index.html");
  writeFileSync(html, page(results, drawn));
  return [html, ...files];
}

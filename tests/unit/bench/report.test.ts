import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { formatValue } from "../../../bench/harness/output.ts";
import { LATENCY, Recorder } from "../../../bench/harness/recorder.ts";
import { readResults, samplesOf, writeResults } from "../../../bench/harness/results.ts";
import { writeReport } from "../../../bench/report/page.ts";
import { figuresOf, withFigures } from "../../../bench/report/readme.ts";
import { BARS } from "../../../bench/promises.ts";
import { treeChart } from "../../../bench/report/tree-chart.ts";
import { byteScale, linearScale, logScale, spread } from "../../../bench/report/scale.ts";
import { exampleResults } from "./example-results.ts";

let dir = "";
let files: string[] = [];
let html = "";

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "bench-report-"));
  const path = join(dir, "run.json");
  await writeResults(path, exampleResults());
  files = await writeReport(path);
  html = readFileSync(files[0] ?? "", "utf8");
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("treeChart()", () => {
  const entry = (id: string, parent: string | null, imports: readonly string[], hits = 0) => ({
    id,
    parent,
    imports,
    hits,
    memoryBytes: 20 * 2 ** 20,
    importUs: 65_400,
  });
  const svg = treeChart(
    "<Tree>",
    ["a run", "of a day"],
    [
      entry("z1", null, ["numpy"], 2),
      entry("z2", "z1", ["pandas"], 1),
      entry("z3", "z1", ["a", "b", "c", "d", "e"]),
      entry("z4", "gone", ["flask"], 7),
    ],
  );
  const at = (label: string): { x: number; y: number } => {
    const found = new RegExp(`<text x="([\\d.]+)" y="([\\d.]+)">${label}<`).exec(svg);
    return { x: Number(found?.[1]), y: Number(found?.[2]) };
  };

  test("puts each zygote right of the one that it was forked from, the most used first", () => {
    expect(at("numpy").x).toBeGreaterThan(at("root").x);
    expect(at("pandas").x).toBeGreaterThan(at("numpy").x);
    expect(at("a b c and 2 more").x).toBe(at("pandas").x);
    // Its parent is not listed any more.
    expect(at("flask").x).toBe(at("numpy").x);
    expect(at("flask").y).toBeLessThan(at("numpy").y);
    expect(at("pandas").y).toBe(at("numpy").y);
    expect(at("a b c and 2 more").y).toBeGreaterThan(at("pandas").y);
  });

  test("says the same in words, with every figure, escaped", () => {
    expect(svg).toContain("<title>&lt;Tree&gt;</title>");
    expect(svg).toContain(
      "<desc>a run of a day root: no packages (flask: 7 hits · 20 MiB · 65 ms;",
    );
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  });

  test("draws the root where there is nothing else", () => {
    expect(treeChart("none", [], [])).toContain(">root</text>");
  });
});

describe("writeReport()", () => {
  test("writes one page and its pictures, all of them well formed", async () => {
    expect(files.map((file) => file.slice(dir.length + 1))).toContain("run/cold-start.svg");
    for (const file of files.slice(1)) {
      const svg = readFileSync(file, "utf8");
      // Every element that is opened is closed, in order.
      const stack: string[] = [];
      for (const [, close, name, self] of svg.matchAll(/<(\/?)([a-zA-Z]+)[^<>]*?(\/?)>/g)) {
        if (close === "/") expect(stack.pop()).toBe(name as string);
        else if (self !== "/") stack.push(name as string);
      }
      expect(stack).toEqual([]);
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    }
  });

  test("loads nothing from anywhere", () => {
    const links = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map((match) => match[1] ?? "");
    expect(links.filter((link) => !link.startsWith("#"))).toEqual([]);
    expect(html).not.toMatch(/@import|<script|<link/);
    expect(html.match(/https?:\/\/[^"\s<]+/g)?.filter((url) => !url.includes("w3.org"))).toEqual(
      [],
    );
  });

  test("escapes what experiments say and names each promise with its verdict", () => {
    expect(html).toContain("What about &lt;cold-start&gt; &amp; its &quot;series&quot;?");
    expect(html).toContain('class="pass">pass');
    expect(html).toContain('class="none">not measured');
  });

  test("does not depend on colour: every curve of a distribution has its own dash and marker", () => {
    const svg = readFileSync(join(dir, "run", "throughput.svg"), "utf8");
    const paths = [...svg.matchAll(/<path d="M[^"]*L[^"]*" fill="none"([^>]*)>/g)];
    const dashes = paths.map((match) => /stroke-dasharray="([^"]*)"/.exec(match[1] ?? "")?.[1]);
    expect(paths.length).toBe(3);
    expect(new Set(dashes).size).toBe(3);
  });
});

describe("figuresOf()", () => {
  const { markdown, pictures } = figuresOf(exampleResults());

  test("has a row per promise with value, interval, bar, verdict and command", () => {
    const rows = markdown.split("\n").filter((row) => row.startsWith("| "));
    expect(rows).toHaveLength(BARS.length + 2);
    const cold = rows.find((row) => row.includes("HTTP to HTTP, p50 | bare floor"));
    expect(cold).toMatch(
      /\| at most 2\.5x \| 2\.\d+x \| 2\.\d+x to 2\.\d+x \| ✓ pass.* \| `cold-start` \|$/,
    );
    expect(markdown).toContain("not measured");
    expect(markdown).toContain("commit `0123456789ab`: 2 cores (example), 16 GiB, Linux 6.18");
    expect(markdown).toContain("on 2026-01-01");
    expect(markdown).toContain("`npm run bench`");
  });

  test("has two pictures with alt texts that tell the figures, on a ground of their own", () => {
    expect([...pictures.keys()]).toEqual(["cold-start.svg", "import-cache.svg"]);
    const alts = [...markdown.matchAll(/^!\[([^\]]+)\]\(bench\/pictures\/([\w-]+\.svg)\)$/gm)];
    expect(alts.map((match) => match[2])).toEqual([...pictures.keys()]);
    expect(alts[0]?.[1]).toMatch(/cold, a new sandbox 1\.\d+ ms;/);
    for (const svg of pictures.values()) {
      const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg) ?? [];
      expect(svg).toContain(`<rect width="${width}" height="${height}" fill="#ffffff"/>`);
    }
  });

  test("withFigures() replaces what is between the markers only, and again", () => {
    const readme = "a\n<!-- figures -->\nold\n<!-- end of figures -->\nb\n";
    const once = withFigures(readme, "new");
    expect(once).toBe("a\n<!-- figures -->\n\nnew\n\n<!-- end of figures -->\nb\n");
    expect(withFigures(once, "new")).toBe(once);
    expect(() => withFigures("no markers", "new")).toThrow("lacks");
  });
});

describe("results", () => {
  test("readResults() gives back what writeResults() wrote, to a tenth of a unit", async () => {
    const read = await readResults(join(dir, "run.json"));
    const [before, after] = [exampleResults(), read].map((results) =>
      samplesOf(results.experiments[0]?.series[0] ?? (undefined as never)),
    );
    expect(after).toHaveLength(before?.length ?? 0);
    for (const [i, value] of (before ?? []).entries()) expect(after?.[i]).toBeCloseTo(value, 0);
  });

  test("readResults() refuses another format", async () => {
    const path = join(dir, "other.json");
    await Bun.write(path, '{"format": 99}');
    expect(await readResults(path).catch(String)).toContain("its format is 99, wanted 1");
  });

  test("Recorder keeps rounds apart and orders series by role", () => {
    const recorder = new Recorder();
    const reference = { ...LATENCY, id: "a", label: "a", role: "reference" } as const;
    const subject = { ...LATENCY, id: "b", label: "b" };
    recorder.add(reference, [1]);
    recorder.add(subject, [2, 3]);
    recorder.add(subject, [4]);
    expect(recorder.series().map(({ id, rounds }) => ({ id, rounds }))).toEqual([
      { id: "b", rounds: [[2, 3], [4]] },
      { id: "a", rounds: [[1]] },
    ]);
  });

  test("formatValue() picks the unit that a reader wants", () => {
    expect(formatValue(53.21, "us")).toBe("53.2 us");
    expect(formatValue(1234, "us")).toBe("1.23 ms");
    expect(formatValue(2_500_000, "us")).toBe("2.5 s");
    expect(formatValue(1.5 * 2 ** 20, "bytes")).toBe("1.5 MiB");
    expect(formatValue(28_900, "per_s")).toBe("28,900/s");
    expect(formatValue(Number.NaN, "us")).toBe("-");
  });
});

describe("axes", () => {
  test("logScale() maps decades to equal steps and ticks inside its domain", () => {
    const scale = logScale([1, 1000], [0, 300]);
    expect([1, 10, 100, 1000].map((value) => Math.round(scale.at(value)))).toEqual([
      0, 100, 200, 300,
    ]);
    expect(scale.ticks).toEqual([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
  });

  test("linearScale() ticks at round numbers", () => {
    expect(
      linearScale([0, 1], [0, 100], 5).ticks.map((tick) => Math.abs(Math.round(tick * 10) / 10)),
    ).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  });

  test("linearScale() and logScale() give a single value a place in the middle or at an end", () => {
    const linear = linearScale([100, 100], [0, 300]);
    expect(linear.at(100)).toBe(150);
    expect(linear.ticks.length).toBeLessThan(12);
    const log = logScale([100, 100], [0, 300]);
    expect(log.at(100)).toBe(0);
    expect(log.ticks).toEqual([100]);
  });

  test("byteScale() ticks at round numbers of MiB", () => {
    const scale = byteScale([0, 4000 * 2 ** 20], [0, 400]);
    const steps = scale.ticks.map((tick) => Math.abs(tick / 2 ** 20) / 500);
    expect(steps).toEqual(steps.map((_, i) => i));
    expect(steps).toHaveLength(9);
    expect(scale.at(1000 * 2 ** 20)).toBe(100);
  });

  test("spread() keeps labels apart and in their frame", () => {
    const placed = spread([50, 50, 51, 100], 10, [0, 100]);
    const ascending = placed.toSorted((a, b) => a - b);
    for (let i = 1; i < ascending.length; i++) {
      expect((ascending[i] ?? 0) - (ascending[i - 1] ?? 0)).toBeGreaterThanOrEqual(10);
    }
    expect(Math.max(...placed)).toBeLessThanOrEqual(100);
  });
});

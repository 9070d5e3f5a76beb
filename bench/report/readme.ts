/**
 * The README's figures: two pictures and the table of promises, from one run. Written by a command and never by
 * hand, so that what is claimed is what was measured.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

import { judge, type BarOutcome } from "../bars.ts";
import { formatValue } from "../harness/output.ts";
import {
  readResults,
  samplesOf,
  type ExperimentResult,
  type ResultFile,
} from "../harness/results.ts";
import { median } from "../stats/quantiles.ts";
import { pictureOf } from "./plans.ts";

const BEGIN = "<!-- figures -->";
const END = "<!-- end of figures -->";

/** Where pictures lie, from the root of the project. */
const PICTURES = "bench/pictures";

/** Pictures in the order of preference, the first of each row that the run has. */
const WANTED: readonly (readonly (readonly [string, string])[])[] = [
  [["cold-start", "cold-start"]],
  [
    ["import-cache", "import-cache"],
    ["zipf", "zipf"],
  ],
];

const WORDS: Readonly<Record<BarOutcome["verdict"], string>> = {
  pass: "✓ pass",
  fail: "**✗ fail**",
  "not measured": "not measured",
  "does not apply": "does not apply",
  "for information": "for information",
};

/** Text that is safe in a cell of a Markdown table. */
const cell = (raw: string): string => raw.replaceAll("|", "\\|").replaceAll("\n", " ");

function row({ bar, measured, verdict, clear }: BarOutcome): string {
  const show = (value: number): string => formatValue(value, bar.unit);
  const cells = [
    bar.figure,
    bar.reference,
    `${bar.limit.kind} ${show(bar.limit.value)}`,
    measured === null ? "-" : show(measured.estimate),
    measured === null ? "" : `${show(measured.low)} to ${show(measured.high)}`,
    WORDS[verdict] + (clear || measured === null ? "" : ", interval spans the bar"),
    `\`${bar.experiment}\``,
  ];
  return `| ${cells.map(cell).join(" | ")} |`;
}

/** What a reader who cannot see the picture should know: every curve's median. */
function altText(title: string, { series }: ExperimentResult): string {
  const medians = series
    .filter(({ unit, role, rounds }) => {
      const isDrawn = role === "subject" || role === "reference";
      return isDrawn && unit !== "bytes" && unit !== "count" && rounds.flat().length > 0;
    })
    .map((each) => `${each.label} ${formatValue(median(samplesOf(each)), each.unit)}`);
  return `${title}. Medians: ${medians.join("; ")}.`.replaceAll(/[[\]\n]/g, " ");
}

/** A picture for the README, or null where the run lacks all candidates. */
function pick(
  results: ResultFile,
  candidates: readonly (readonly [string, string])[],
): { file: string; svg: string; alt: string } | null {
  for (const [name, file] of candidates) {
    const experiment = results.experiments.find((each) => each.name === name);
    const drawn = experiment === undefined ? null : pictureOf(experiment, file);
    if (experiment === undefined || drawn === null) continue;
    return { file: `${file}.svg`, svg: drawn.svg, alt: altText(drawn.title, experiment) };
  }
  return null;
}

function provenance(results: ResultFile): string {
  const { machine, startedAt, scale, seed, command } = results;
  const memory = Math.round(machine.memoryBytes / 2 ** 30);
  const options = command.replace(/^bench */, "");
  const doubt = scale === "full" ? "" : " Fewer rounds than a figure to cite needs.";
  return (
    `One run of \`npm run bench${options === "" ? "" : ` -- ${options}`}\` (scale ${scale}, seed ` +
    `\`${seed}\`) on ${startedAt.slice(0, 10)}, commit \`${machine.commit}\`: ${machine.cores} cores ` +
    `(${machine.cpu}), ${memory} GiB, Linux ${machine.kernel}, cgroup ${machine.cgroup}, virtual: ` +
    `${machine.virtual}.${doubt} Ratios are of that run; intervals are 95 % bootstrap. A row by itself: ` +
    "`npm run bench -- EXPERIMENT`, with the name in its last column."
  );
}

/**
 * @param results one run
 * @returns the part of the README between the markers, and its pictures by file name
 */
export function figuresOf(results: ResultFile): {
  markdown: string;
  pictures: ReadonlyMap<string, string>;
} {
  const head =
    "| figure | against | bar | measured | 95 % interval | | experiment |\n" +
    "| --- | --- | --- | --- | --- | --- | --- |";
  const pictures = new Map<string, string>();
  const parts = [provenance(results), `${head}\n${judge(results).map(row).join("\n")}`];
  for (const candidates of WANTED) {
    const picture = pick(results, candidates);
    if (picture === null) continue;
    pictures.set(picture.file, picture.svg);
    parts.push(`![${picture.alt}](${PICTURES}/${picture.file})`);
  }
  return { markdown: parts.join("\n\n"), pictures };
}

/**
 * @param readme its whole text
 * @param markdown what is to stand between the markers
 * @throws {Error} where a marker is missing
 */
export function withFigures(readme: string, markdown: string): string {
  const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (from < 0 || to < from) {
    throw new Error(`Cannot write figures: README.md lacks "${BEGIN}" followed by "${END}"`);
  }
  return `${readme.slice(0, from + BEGIN.length)}\n\n${markdown}\n\n${readme.slice(to)}`;
}

/**
 * @param path of a result file
 * @param root of the project
 * @returns files written
 */
export async function writeFigures(path: string, root: string): Promise<string[]> {
  const { markdown, pictures } = figuresOf(await readResults(path));
  const readme = join(root, "README.md");
  const text = withFigures(readFileSync(readme, "utf8"), markdown);
  const files = [readme];
  mkdirSync(join(root, PICTURES), { recursive: true });
  for (const [file, svg] of pictures) {
    const target = join(root, PICTURES, basename(file));
    writeFileSync(target, `<?xml version="1.0" encoding="UTF-8"?>\n${svg}\n`);
    files.push(target);
  }
  writeFileSync(readme, text);
  return files;
}

/** Where the time of a call goes: medians of its stages, end to end. */

import { formatValue } from "../harness/output.ts";
import { samplesOf, type Series } from "../harness/results.ts";
import { median } from "../stats/quantiles.ts";
import { linearScale, tickLabel, xAxis, type Frame } from "./scale.ts";
import { hatches } from "./style.ts";
import { document, element, text, widthOf } from "./svg.ts";

const WIDTH = 960;
const ROW = 78;
const BAR = 30;
const LABELS_MIN = 190;

/** A bar: a series and its stages. */
export interface Stack {
  readonly whole: Series;
  readonly stages: readonly Series[];
}

/** @returns series with the stages that belong to them, in the order measured */
export function stacksOf(list: readonly Series[]): Stack[] {
  return list.flatMap((whole) => {
    const stages = list.filter(
      (each) =>
        each.role === "stage" &&
        each.id.startsWith(`${whole.id}.`) &&
        each.rounds.flat().length > 0,
    );
    return stages.length > 0 && whole.role === "subject" ? [{ whole, stages }] : [];
  });
}

/** Stages in the order in which they happen; others follow, and the rest is last. */
const ORDER = ["queue", "sandbox", "import", "handler"];

const placeOf = (name: string): number =>
  name === "rest" ? ORDER.length + 1 : ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length;

/** Which hatch is which stage. */
function keyOf(names: readonly string[], fills: readonly string[], left: number): string {
  const boxes = names.map((name, i) => {
    const x = left + i * 112;
    const fill = fills[i] ?? "none";
    const look = { fill, stroke: "#1b1f24", "stroke-width": 0.8 };
    return (
      element("rect", { x, y: 44, width: 20, height: 14, ...look }) +
      text(x + 26, 56, name, { class: "small" })
    );
  });
  return boxes.join("");
}

/**
 * @param title of the picture
 * @param stacks from `stacksOf`
 * @returns an SVG document with one bar for each, parts labelled
 */
export function stackChart(title: string, stacks: readonly Stack[]): string {
  const names = [
    ...new Set(
      stacks.flatMap(({ whole, stages }) => stages.map(({ id }) => id.slice(whole.id.length + 1))),
    ),
  ].toSorted((a, b) => placeOf(a) - placeOf(b));
  const { definitions, fills } = hatches("stack", names.length);
  const labels = stacks.map(({ whole }) => whole.label);
  const frame: Frame = {
    left: Math.max(LABELS_MIN, widthOf(labels, "normal") + 24),
    right: WIDTH - 40,
    top: 80,
    bottom: 80 + stacks.length * ROW,
  };
  const parts = stacks.map(({ whole, stages }) =>
    stages
      .map((stage) => ({
        name: stage.id.slice(whole.id.length + 1),
        us: Math.max(0, median(samplesOf(stage))),
      }))
      .toSorted((a, b) => placeOf(a.name) - placeOf(b.name)),
  );
  const most = Math.max(...parts.map((list) => list.reduce((sum, part) => sum + part.us, 0)));
  const x = linearScale([0, most * 1.02], [frame.left, frame.right], 8);
  const bars = stacks.map(({ whole }, row) => {
    const top = frame.top + row * ROW + 8;
    let from = 0;
    let wordsEnd = 0;
    const boxes = (parts[row] ?? []).map(({ name, us }) => {
      const [left, right] = [x.at(from), x.at(from + us)];
      from += us;
      const size = { x: left, y: top, width: Math.max(0.5, right - left), height: BAR };
      const fill = fills[names.indexOf(name)] ?? "none";
      const box = element("rect", { ...size, fill, stroke: "#1b1f24", "stroke-width": 0.8 });
      const words = `${name} ${formatValue(us, "us")}`;
      const width = words.length * 6.4;
      // Parts too narrow to be named where they are appear in the key with their figure only.
      const at = Math.max(left + 2, wordsEnd + 8);
      if (us / most < 0.012 || at + width > frame.right + 36 || at > right + 60) return box;
      wordsEnd = at + width;
      return box + text(at, top + BAR + 15, words, { class: "small" });
    });
    const total = formatValue(median(samplesOf(whole)), "us");
    return (
      text(frame.left - 12, top + 14, whole.label, { "text-anchor": "end" }) +
      text(frame.left - 12, top + 30, `median ${total}`, { "text-anchor": "end", class: "small" }) +
      boxes.join("")
    );
  });
  return document({
    title,
    description: stacks
      .map(
        ({ whole }, i) =>
          `${whole.label}: ${(parts[i] ?? []).map(({ name, us }) => `${name} ${formatValue(us, "us")}`).join(", ")}`,
      )
      .join("; "),
    width: WIDTH,
    height: frame.bottom + 56,
    content:
      definitions +
      keyOf(names, fills, frame.left) +
      xAxis(x, frame, tickLabel("us"), "median of each stage, end to end") +
      bars.join(""),
  });
}

/** Axes: from values to pixels, and where the ticks go. */

import { formatValue } from "../harness/output.ts";
import type { Unit } from "../harness/results.ts";
import { line, text } from "./svg.ts";

/** A mapped axis. */
export interface Scale {
  at(value: number): number;
  readonly ticks: readonly number[];
}

const STEPS = [1, 2, 5];

/**
 * @param domain smallest and largest positive value
 * @param range pixels of both ends
 * @returns a logarithmic axis with ticks at 1, 2, 5 times powers of ten, fewer where they would crowd
 */
export function logScale(
  domain: readonly [number, number],
  range: readonly [number, number],
): Scale {
  const low = Math.log10(domain[0]);
  const high = Math.max(Math.log10(domain[1]), low + 0.05);
  const ticks: number[] = [];
  const decades = high - low;
  const steps = decades > 3.5 ? [1] : STEPS;
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const step of steps) {
      const tick = step * 10 ** power;
      if (tick >= domain[0] * 0.999 && tick <= domain[1] * 1.001) ticks.push(tick);
    }
  }
  return {
    at: (value) => range[0] + ((Math.log10(value) - low) / (high - low)) * (range[1] - range[0]),
    ticks,
  };
}

/**
 * @param domain smallest and largest value
 * @param range pixels of both ends
 * @param count about how many ticks
 * @returns a linear axis with round ticks
 */
export function linearScale(
  domain: readonly [number, number],
  range: readonly [number, number],
  count = 6,
): Scale {
  // A single value gets room on both sides: a span of nothing has no ticks.
  const lone = domain[1] <= domain[0];
  const low = lone ? domain[0] - 1 : domain[0];
  const high = lone ? domain[0] + 1 : domain[1];
  const span = high - low;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((each) => each * power >= rough * 0.75) ?? 10) * power;
  const ticks: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + span * 1e-9; i++) {
    ticks.push(i * step);
  }
  return {
    at: (value) => range[0] + ((value - low) / span) * (range[1] - range[0]),
    ticks,
  };
}

/**
 * @param domain smallest and largest value in bytes
 * @param range pixels of both ends
 * @returns a linear axis whose ticks are round in MiB
 */
export function byteScale(
  domain: readonly [number, number],
  range: readonly [number, number],
): Scale {
  const mib = linearScale([domain[0] / 2 ** 20, domain[1] / 2 ** 20], range);
  return {
    at: (value) => mib.at(value / 2 ** 20),
    ticks: mib.ticks.map((tick) => tick * 2 ** 20),
  };
}

/** Where a chart's plot lies. */
export interface Frame {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Labels of numbers on an axis. */
export type TickLabel = (value: number) => string;

/** @returns labels for a unit; "percent" and "plain" are for axes that no series is measured in */
export function tickLabel(unit: Unit | "percent" | "plain"): TickLabel {
  if (unit === "percent") return (value) => `${Math.round(value * 100)} %`;
  if (unit === "plain") return (value) => value.toLocaleString("en-US");
  return (value) => formatValue(value, unit).replace(/\.0+(?=\D)/, "");
}

/**
 * @param scale of the x axis
 * @param frame of the plot
 * @param label of the ticks
 * @param title of the axis
 */
export function xAxis(scale: Scale, frame: Frame, label: TickLabel, title: string): string {
  let lastEnd = Number.NEGATIVE_INFINITY;
  const ticks = scale.ticks.map((tick) => {
    const x = scale.at(tick);
    const grid = line([x, frame.top], [x, frame.bottom], { class: "grid" });
    const words = label(tick);
    const half = words.length * 3.6 + 4;
    // A label that would touch its neighbour is left out; its grid line stays.
    if (x - half < lastEnd) return grid;
    lastEnd = x + half;
    return grid + text(x, frame.bottom + 18, words, { "text-anchor": "middle", class: "small" });
  });
  const middle = (frame.left + frame.right) / 2;
  return (
    ticks.join("") +
    line([frame.left, frame.bottom], [frame.right, frame.bottom], { class: "axis" }) +
    text(middle, frame.bottom + 38, title, { "text-anchor": "middle" })
  );
}

/**
 * @param scale of the y axis
 * @param frame of the plot
 * @param label of the ticks
 * @param title of the axis, drawn above it: nothing is read sideways
 */
export function yAxis(scale: Scale, frame: Frame, label: TickLabel, title: string): string {
  const ticks = scale.ticks.map((tick) => {
    const y = scale.at(tick);
    return (
      line([frame.left, y], [frame.right, y], { class: "grid" }) +
      text(frame.left - 8, y + 4, label(tick), { "text-anchor": "end", class: "small" })
    );
  });
  return (
    ticks.join("") +
    line([frame.left, frame.top], [frame.left, frame.bottom], { class: "axis" }) +
    text(16, frame.top - 12, title, { class: "small" })
  );
}

/**
 * Moves labels apart so that none covers another.
 * @param wanted y of each, any order
 * @param gap least distance
 * @param limits smallest and largest y
 * @returns y of each in the same order
 */
export function spread(
  wanted: readonly number[],
  gap: number,
  limits: readonly [number, number],
): number[] {
  const order = wanted.map((y, index) => ({ y, index })).toSorted((a, b) => a.y - b.y);
  let previous = limits[0] - gap;
  for (const each of order) {
    each.y = Math.max(each.y, previous + gap);
    previous = each.y;
  }
  let next = limits[1] + gap;
  for (const each of order.toReversed()) {
    each.y = Math.min(each.y, next - gap);
    next = each.y;
  }
  const result = [...wanted];
  for (const { y, index } of order) result[index] = y;
  return result;
}

/** Curves over a quantity, with intervals, labelled at their ends. */

import { formatValue } from "../harness/output.ts";
import type { Series, Unit } from "../harness/results.ts";
import { quantileInterval } from "../stats/bootstrap.ts";
import { Random } from "../stats/random.ts";
import {
  byteScale,
  linearScale,
  logScale,
  spread,
  tickLabel,
  xAxis,
  yAxis,
  type Frame,
  type Scale,
} from "./scale.ts";
import { lookOf, marker, strokeOf, type Look } from "./style.ts";
import { document, line, path, text, widthOf } from "./svg.ts";

const WIDTH = 960;
const HEIGHT = 480;
const LABELS_MIN = 250;

/** How a chart of curves is to be drawn. */
export interface LineChartOptions {
  readonly title: string;
  readonly xTitle: string;
  readonly xUnit: Unit | "plain" | "percent";
  readonly xLog: boolean;
  readonly yTitle: string;
  readonly yLog: boolean;
  /** Quantiles to draw of each curve; default the median. */
  readonly quantiles?: readonly number[];
}

interface Point {
  readonly x: number;
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
}

interface Curve {
  readonly label: string;
  readonly points: readonly Point[];
}

/** Curves by name, points by x. */
function curvesOf(list: readonly Series[], quantiles: readonly number[]): Curve[] {
  const names = [...new Set(list.flatMap(({ curve }) => (curve === null ? [] : [curve.name])))];
  return names.flatMap((name) =>
    quantiles.map((q) => {
      const points = list
        .filter((series) => series.curve?.name === name && series.rounds.flat().length > 0)
        .map((series): Point => {
          const random = new Random(`chart/${series.id}`);
          return { x: series.curve?.x ?? 0, ...quantileInterval(series.rounds, q, random, 300) };
        })
        .toSorted((a, b) => a.x - b.x);
      const suffix = quantiles.length > 1 ? `, p${Math.round(q * 100)}` : "";
      return { label: name + suffix, points };
    }),
  );
}

/** Domain of an axis: from zero, or around the values where it is logarithmic. */
function domainOf(values: readonly number[], log: boolean): [number, number] {
  const most = Math.max(...values);
  if (!log) return [Math.min(0, ...values), most <= 0 ? 1 : most * 1.06];
  const least = Math.min(...values.filter((value) => value > 0));
  return [least * 0.85, most * 1.2];
}

function drawCurve({ points }: Curve, look: Look, x: (at: number) => number, y: Scale): string {
  const whiskers = points.map((point) => {
    const at = x(point.x);
    const [top, bottom] = [y.at(point.high), y.at(point.low)];
    const stroke = { stroke: look.colour, "stroke-width": 1.2 };
    return (
      line([at, top], [at, bottom], stroke) +
      line([at - 4, top], [at + 4, top], stroke) +
      line([at - 4, bottom], [at + 4, bottom], stroke)
    );
  });
  const marks = points.map((point) => marker(look, x(point.x), y.at(point.estimate)));
  return (
    path(
      points.map((point) => [x(point.x), y.at(point.estimate)] as const),
      strokeOf(look),
    ) +
    whiskers.join("") +
    marks.join("")
  );
}

/**
 * @param list series with curves, of one unit
 * @param options titles and axes
 * @returns an SVG document
 */
export function lineChart(list: readonly Series[], options: LineChartOptions): string {
  const { xLog, yLog } = options;
  const curves = curvesOf(list, options.quantiles ?? [0.5]).filter(
    ({ points }) => points.length > 0,
  );
  const unit = list[0]?.unit ?? "us";
  const names = curves.map(({ label: name, points }) => {
    return `${name}: ${formatValue(points.at(-1)?.estimate ?? Number.NaN, unit)}`;
  });
  const labels = Math.max(LABELS_MIN, widthOf(names, "small") + 36);
  const frame: Frame = { left: 84, right: WIDTH - labels, top: 70, bottom: HEIGHT - 56 };
  const xs = curves.flatMap(({ points }) => points.map((point) => point.x));
  const ys = curves.flatMap(({ points }) => points.flatMap(({ low, high }) => [low, high]));
  // A logarithmic axis has no place for zero: it is drawn left of the smallest other value.
  const smallest = Math.min(...xs.filter((x) => x > 0));
  const zeroAt = smallest / 3;
  const place = (x: number): number => (xLog && x === 0 ? zeroAt : x);
  const xDomain: [number, number] = [place(Math.min(...xs)), Math.max(...xs)];
  const xScale = xLog
    ? logScale(xDomain, [frame.left + 12, frame.right - 12])
    : linearScale(xDomain, [frame.left + 12, frame.right - 12]);
  const measured = [...new Set(xs)].toSorted((a, b) => a - b);
  const ticks = {
    at: (value: number) => xScale.at(value),
    ticks: measured.length <= 12 ? measured.map(place) : xScale.ticks,
  };
  const linear = unit === "bytes" ? byteScale : linearScale;
  const yScale = (yLog ? logScale : linear)(domainOf(ys, yLog), [frame.bottom, frame.top]);
  const x = (at: number): number => xScale.at(place(at));
  const label = tickLabel(options.xUnit);
  const lasts = curves.map(({ points }) => yScale.at(points.at(-1)?.estimate ?? 0));
  const labelY = spread(lasts, 17, [frame.top, frame.bottom]);
  const drawn = curves.map((each, index) => {
    const look = lookOf(index);
    const last = each.points.at(-1);
    const at = labelY[index] ?? 0;
    const words = names[index] ?? "";
    const leader = line([x(last?.x ?? 0) + 6, lasts[index] ?? 0], [frame.right + 10, at], {
      stroke: look.colour,
      "stroke-width": 0.8,
    });
    return (
      drawCurve(each, look, x, yScale) +
      leader +
      marker(look, frame.right + 16, at, 4) +
      text(frame.right + 26, at + 4, words, { class: "small" })
    );
  });
  const tick = (value: number): string => (xLog && value === zeroAt ? "0" : label(value));
  return document({
    title: options.title,
    description: `${options.yTitle} over ${options.xTitle}: ${curves.map(({ label: name, points }) => `${name} ${points.map((point) => `${label(point.x)}: ${formatValue(point.estimate, unit)}`).join(", ")}`).join("; ")}.`,
    width: WIDTH,
    height: HEIGHT,
    content:
      xAxis(ticks, frame, tick, options.xTitle) +
      yAxis(yScale, frame, tickLabel(unit), options.yTitle) +
      drawn.join(""),
  });
}

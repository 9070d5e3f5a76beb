/** Distributions: the share of calls that were answered within a time, every outlier included. */

import { formatValue } from "../harness/output.ts";
import { samplesOf, type Series } from "../harness/results.ts";
import { ecdfPoints, quantile, sorted, type Sorted } from "../stats/quantiles.ts";
import { linearScale, logScale, tickLabel, xAxis, yAxis, type Frame } from "./scale.ts";
import { lookOf, marker, strokeOf, type Look } from "./style.ts";
import { document, line, path, text } from "./svg.ts";

const WIDTH = 960;
const PLOT = 400;
const KEY_LINE = 21;

/** Shares at which curves carry their letter, in turn. */
const NAMED_AT = [0.5, 0.66, 0.34];

const LETTER = {
  "font-weight": 700,
  stroke: "#ffffff",
  "stroke-width": 4,
  "paint-order": "stroke",
};

/** One line of the key: look, letter, name and figures. */
function keyLine(
  frame: Frame,
  y: number,
  look: Look,
  { letter, series, values }: { letter: string; series: Series; values: Sorted },
): string {
  const figures = [
    `p50 ${formatValue(quantile(values, 0.5), series.unit)}`,
    values.length < 100 ? "" : `p99 ${formatValue(quantile(values, 0.99), series.unit)}`,
    `n ${values.length.toLocaleString("en-US")}`,
  ];
  const columns = figures.map((figure, i) =>
    text(frame.right - 230 + i * 115, y, figure, { "text-anchor": "end", class: "small" }),
  );
  return (
    line([frame.left, y - 4], [frame.left + 44, y - 4], strokeOf(look)) +
    marker(look, frame.left + 22, y - 4) +
    text(frame.left + 54, y, letter, { "font-weight": 700 }) +
    text(frame.left + 72, y, series.label) +
    columns.join("")
  );
}

/**
 * @param title of the picture
 * @param list series of one unit, at least one sample each
 * @returns an SVG document; each curve carries a letter that the key below explains
 */
export function ecdfChart(title: string, list: readonly Series[]): string {
  const drawn = list
    .map((series) => ({ series, values: sorted(samplesOf(series)) }))
    .filter(({ values }) => values.length > 0 && (values[0] as number) > 0)
    .toSorted((a, b) => quantile(a.values, 0.5) - quantile(b.values, 0.5));
  const unit = drawn[0]?.series.unit ?? "us";
  const frame: Frame = { left: 70, right: WIDTH - 24, top: 64, bottom: 64 + PLOT };
  const least = Math.min(...drawn.map(({ values }) => values[0] as number));
  const most = Math.max(...drawn.map(({ values }) => values.at(-1) as number));
  const x = logScale([least * 0.9, most * 1.1], [frame.left, frame.right]);
  const y = linearScale([0, 1], [frame.bottom, frame.top], 5);
  const keyTop = frame.bottom + 62;
  const curves = drawn.map(({ series, values }, index) => {
    const look = lookOf(index);
    const points: [number, number][] = [[x.at(values[0] as number), y.at(0)]];
    let share = 0;
    for (const point of ecdfPoints(values)) {
      points.push([x.at(point.value), y.at(share)], [x.at(point.value), y.at(point.share)]);
      share = point.share;
    }
    const letter = String.fromCodePoint(65 + index);
    // Neighbours are named at different heights: their curves are often close together.
    const named = NAMED_AT[index % NAMED_AT.length] as number;
    const marks = [0.1, named, 0.9].map((q) => marker(look, x.at(quantile(values, q)), y.at(q)));
    const name = text(x.at(quantile(values, named)) + 9, y.at(named) + 5, letter, LETTER);
    const key = keyLine(frame, keyTop + index * KEY_LINE, look, { letter, series, values });
    return path(points, strokeOf(look)) + marks.join("") + name + key;
  });
  return document({
    title,
    description: `Cumulative distributions on a logarithmic axis: ${drawn.map(({ series, values }) => `${series.label}, median ${formatValue(quantile(values, 0.5), unit)}`).join("; ")}.`,
    width: WIDTH,
    height: keyTop + drawn.length * KEY_LINE + 10,
    content:
      xAxis(x, frame, tickLabel(unit), "time, logarithmic; left is better") +
      yAxis(
        y,
        frame,
        tickLabel("percent"),
        "share of calls within that time; letters name the curves",
      ) +
      curves.join(""),
  });
}

/** Medians side by side on a logarithmic axis, with the range that most samples lie in. */

import { formatValue } from "../harness/output.ts";
import { samplesOf, type Series } from "../harness/results.ts";
import { quantile, sorted } from "../stats/quantiles.ts";
import { logScale, tickLabel, xAxis, type Frame } from "./scale.ts";
import { lookOf, marker } from "./style.ts";
import { document, line, text, widthOf } from "./svg.ts";

const WIDTH = 960;
const ROW = 24;
const LABELS_MIN = 200;

/**
 * @param title of the picture
 * @param list series of one unit, one row each; rows of one x lie together
 * @returns an SVG document: marker at the median, thick line p25 to p75, thin line to p5 and p95
 */
export function dotChart(title: string, list: readonly Series[]): string {
  const rows = list
    .map((series) => ({ series, values: sorted(samplesOf(series).filter((value) => value > 0)) }))
    .filter(({ values }) => values.length > 0)
    .toSorted((a, b) => (a.series.curve?.x ?? 0) - (b.series.curve?.x ?? 0));
  const unit = rows[0]?.series.unit ?? "us";
  const kinds = [...new Set(rows.map(({ series }) => series.curve?.name ?? series.role))];
  const frame: Frame = {
    left: Math.max(
      LABELS_MIN,
      widthOf(
        rows.map(({ series }) => series.label),
        "small",
      ) + 24,
    ),
    right: WIDTH - 100,
    top: 56,
    bottom: 66 + rows.length * ROW,
  };
  const least = Math.min(...rows.map(({ values }) => quantile(values, 0.05)));
  const most = Math.max(...rows.map(({ values }) => quantile(values, 0.95)));
  const x = logScale([least * 0.85, most * 1.15], [frame.left, frame.right]);
  const drawn = rows.map(({ series, values }, row) => {
    const y = frame.top + 14 + row * ROW;
    const look = lookOf(kinds.indexOf(series.curve?.name ?? series.role));
    const at = (q: number): number => x.at(quantile(values, q));
    const span = (from: number, to: number, width: number): string =>
      line([at(from), y], [at(to), y], { stroke: look.colour, "stroke-width": width });
    return (
      text(frame.left - 12, y + 4, series.label, { "text-anchor": "end", class: "small" }) +
      span(0.05, 0.95, 1.2) +
      span(0.25, 0.75, 4) +
      marker(look, at(0.5), y) +
      text(frame.right + 10, y + 4, formatValue(quantile(values, 0.5), unit), { class: "small" })
    );
  });
  return document({
    title,
    description: rows
      .map(
        ({ series, values }) =>
          `${series.label}: median ${formatValue(quantile(values, 0.5), unit)}`,
      )
      .join("; "),
    width: WIDTH,
    height: frame.bottom + 52,
    content:
      xAxis(
        x,
        frame,
        tickLabel(unit),
        "logarithmic; marker: median, thick: middle half, thin: 5 to 95 %",
      ) + drawn.join(""),
  });
}

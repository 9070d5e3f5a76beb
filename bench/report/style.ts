/**
 * How series are told apart: by dash, marker and label first, by colour as well (the Okabe-Ito palette,
 * which colour-blind readers can tell apart). Any one of them may be missing and the picture still reads.
 */

import { element, type Attributes } from "./svg.ts";

const COLOURS = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#7a5c00",
  "#56b4e9",
  "#000000",
  "#8a5fd0",
];
const DASHES = [null, "8 4", "2 3", "10 3 2 3", "5 2", "1 4", "12 4 2 4 2 4", "6 6"];
const MARKERS = [
  "circle",
  "square",
  "triangle",
  "diamond",
  "cross",
  "plus",
  "down",
  "ring",
] as const;

/** Look of the series at a position. */
export interface Look {
  readonly colour: string;
  readonly dash: string | null;
  readonly marker: (typeof MARKERS)[number];
}

/** @param index position of the series in its picture */
export function lookOf(index: number): Look {
  // The second eight pair the same eight of each differently, so that no look comes twice.
  const turn = Math.floor(index / COLOURS.length);
  return {
    colour: COLOURS[index % COLOURS.length] as string,
    dash: DASHES[(index + 3 * turn) % DASHES.length] ?? null,
    marker: MARKERS[(index + 5 * turn) % MARKERS.length] as Look["marker"],
  };
}

/** @returns stroke attributes of a look */
export function strokeOf(look: Look, width = 2): Attributes {
  return { stroke: look.colour, "stroke-width": width, "stroke-dasharray": look.dash };
}

/** Marker shapes around 0, 0, as path data for a radius. */
const SHAPES: Readonly<Record<Look["marker"], (r: number) => string>> = {
  circle: (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
  square: (r) => `M${-r} ${-r}H${r}V${r}H${-r}Z`,
  triangle: (r) => `M0 ${-r * 1.2}L${r * 1.1} ${r}H${-r * 1.1}Z`,
  diamond: (r) => `M0 ${-r * 1.3}L${r * 1.3} 0L0 ${r * 1.3}L${-r * 1.3} 0Z`,
  cross: (r) => `M${-r} ${-r}L${r} ${r}M${-r} ${r}L${r} ${-r}`,
  plus: (r) => `M${-r * 1.2} 0H${r * 1.2}M0 ${-r * 1.2}V${r * 1.2}`,
  down: (r) => `M0 ${r * 1.2}L${r * 1.1} ${-r}H${-r * 1.1}Z`,
  ring: (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
};

/**
 * @param look of the series
 * @param x centre
 * @param y centre
 * @param radius in pixels
 */
export function marker(look: Look, x: number, y: number, radius = 4.5): string {
  const open = look.marker === "cross" || look.marker === "plus" || look.marker === "ring";
  return element("path", {
    d: SHAPES[look.marker](radius),
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
    fill: open ? "#ffffff" : look.colour,
    stroke: look.colour,
    "stroke-width": open ? 2 : 1,
  });
}

const HATCHES = [
  "",
  "M0 8L8 0",
  "M0 0L8 8",
  "M0 4H8",
  "M4 0V8",
  "M0 8L8 0M0 0L8 8",
  "M0 4H8M4 0V8",
];

/**
 * Fills for stacked bars, told apart by hatching.
 * @param prefix makes ids unique on a page
 * @param count how many
 * @returns definitions, and the fill of each position
 */
export function hatches(prefix: string, count: number): { definitions: string; fills: string[] } {
  const ids = Array.from({ length: count }, (_, i) => `${prefix}-hatch-${i}`);
  const definitions = ids.map((id, i) => {
    const { colour } = lookOf(i);
    const ground = element("rect", { width: 8, height: 8, fill: colour, "fill-opacity": "0.25" });
    const d = HATCHES[i % HATCHES.length] ?? "";
    const lines = d === "" ? "" : element("path", { d, stroke: colour, "stroke-width": "1.6" });
    const size = { width: 8, height: 8, patternUnits: "userSpaceOnUse" };
    return element("pattern", { id, ...size }, ground + lines);
  });
  return {
    definitions: element("defs", {}, definitions.join("")),
    fills: ids.map((id) => `url(#${id})`),
  };
}

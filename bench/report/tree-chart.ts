/** The import cache of a worker as a tree: who was forked from whom, and what each entry costs and saves. */

import { document, element, line, text, widthOf } from "./svg.ts";

/** One zygote, as `GET /stats` tells of it. */
export interface TreeEntry {
  readonly id: string;
  /** Null: forked from the root. */
  readonly parent: string | null;
  /** Modules that it imported beyond its parent's. */
  readonly imports: readonly string[];
  readonly hits: number;
  readonly memoryBytes: number;
  readonly importUs: number;
}

const MIB = 2 ** 20;
const MARGIN = 16;
const CAPTION = 50;
const CAPTION_LINE = 18;
const ROW = 46;
const BOX = 36;
const GAP = 44;
const INSET = 8;
const IMPORTS_SHOWN_MAX = 3;

interface Placed {
  readonly label: string;
  readonly figures: string;
  readonly depth: number;
  readonly row: number;
  readonly children: readonly Placed[];
}

function labelOf(imports: readonly string[]): string {
  const left = imports.length - IMPORTS_SHOWN_MAX;
  return imports.slice(0, IMPORTS_SHOWN_MAX).join(" ") + (left > 0 ? ` and ${left} more` : "");
}

function figuresOf({ hits, memoryBytes, importUs }: TreeEntry): string {
  const ms = importUs / 1000;
  const time = ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
  return `${hits} hits · ${(memoryBytes / MIB).toFixed(0)} MiB · ${time} ms`;
}

/** Leaves get a row each, from top to bottom; whoever has children stands beside the first of them. */
function place(entries: readonly TreeEntry[]): { readonly top: Placed[]; readonly rows: number } {
  let rows = 0;
  const ids = new Set(entries.map(({ id }) => id));
  const below = (parent: string | null, depth: number): Placed[] =>
    entries
      .filter((one) => (ids.has(one.parent ?? "") ? one.parent : null) === parent)
      .toSorted((a, b) => b.hits - a.hits || (a.id < b.id ? -1 : 1))
      .map((one) => {
        const row = rows;
        const children = below(one.id, depth + 1);
        if (children.length === 0) rows += 1;
        return { label: labelOf(one.imports), figures: figuresOf(one), depth, row, children };
      });
  return { top: below(null, 1), rows };
}

/**
 * @param title of the picture
 * @param captions lines that say what run it shows
 * @param entries all zygotes of a worker
 * @returns an SVG document: the root at the left, each zygote right of the one that it was forked from
 */
export function treeChart(
  title: string,
  captions: readonly string[],
  entries: readonly TreeEntry[],
): string {
  const { top, rows } = place(entries);
  const root: Placed = { label: "root", figures: "no packages", depth: 0, row: 0, children: top };
  const widths: number[] = [];
  const measure = ({ label, figures, depth, children }: Placed): void => {
    const own = Math.max(widthOf([label], "normal"), widthOf([figures], "small")) + 2 * INSET;
    widths[depth] = Math.max(widths[depth] ?? 0, own);
    for (const child of children) measure(child);
  };
  measure(root);
  const left = (depth: number): number =>
    MARGIN + widths.slice(0, depth).reduce((sum, width) => sum + width + GAP, 0);
  const head = CAPTION + captions.length * CAPTION_LINE;
  const middle = (row: number): number => head + row * ROW + BOX / 2;
  const draw = ({ label, figures, depth, row, children }: Placed): string => {
    const x = left(depth);
    const y = head + row * ROW;
    const width = widths[depth] ?? 0;
    const look = { fill: depth === 0 ? "#eef1f4" : "#ffffff", stroke: "#0072b2", rx: 4 };
    const box = element("rect", { x, y, width, height: BOX, ...look });
    const words =
      text(x + INSET, y + 15, label) + text(x + INSET, y + 30, figures, { class: "small" });
    const bend = x + width + GAP / 2;
    const edges = children.map((child) => {
      const to = middle(child.row);
      return line([bend, to], [left(child.depth), to], { class: "axis" });
    });
    const last = children.at(-1);
    if (last !== undefined) {
      edges.push(line([x + width, middle(row)], [bend, middle(row)], { class: "axis" }));
      edges.push(line([bend, middle(row)], [bend, middle(last.row)], { class: "axis" }));
    }
    return edges.join("") + box + words + children.map(draw).join("");
  };
  const width = Math.max(left(widths.length) - GAP, MARGIN + widthOf(captions, "small")) + MARGIN;
  const lines = captions.map((caption, index) =>
    text(MARGIN, CAPTION + index * CAPTION_LINE, caption, { class: "small" }),
  );
  return document({
    title,
    description: `${captions.join(" ")} ${describe(root)}`,
    width: Math.ceil(width),
    height: head + Math.max(rows, 1) * ROW + MARGIN,
    content: lines.join("") + draw(root),
  });
}

/** What a reader who cannot see it should know: each line of the tree in words. */
function describe({ label, figures, children }: Placed): string {
  const below = children.length === 0 ? "" : ` (${children.map(describe).join("; ")})`;
  return `${label}: ${figures}${below}`;
}

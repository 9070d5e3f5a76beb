/** Writes SVG as text: escaping, numbers and the few shapes that the charts share. */

/** Attribute values; null leaves the attribute out. */
export type Attributes = Readonly<Record<string, string | number | null>>;

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
};

/** @returns text that is safe in XML and HTML, in elements and attributes */
export function escape(raw: string): string {
  return raw.replaceAll(/[&<>"]/g, (found) => ESCAPES[found] ?? found);
}

/**
 * @param name of the element
 * @param attributes numbers are rounded to a tenth of a pixel
 * @param content markup, already escaped
 */
export function element(name: string, attributes: Attributes, content = ""): string {
  const parts = Object.entries(attributes).flatMap(([key, value]) => {
    if (value === null) return [];
    const shown = typeof value === "number" ? String(Math.round(value * 10) / 10) : escape(value);
    return [`${key}="${shown}"`];
  });
  const open = [name, ...parts].join(" ");
  return content === "" ? `<${open}/>` : `<${open}>${content}</${name}>`;
}

/**
 * @param x left end, middle or right end, by anchor
 * @param y baseline
 * @param content plain text
 * @param attributes such as `text-anchor`
 */
export function text(x: number, y: number, content: string, attributes: Attributes = {}): string {
  return element("text", { x, y, ...attributes }, escape(content));
}

/** Pixels per character that no font in use exceeds by much, by the size of the text. */
const WIDTHS = { normal: 7.2, small: 6.4 };

/**
 * @param labels that stand beside a plot
 * @param size of their text
 * @returns about how many pixels the longest of them takes
 */
export function widthOf(labels: readonly string[], size: keyof typeof WIDTHS): number {
  return Math.max(0, ...labels.map(({ length }) => length)) * WIDTHS[size];
}

/** @returns a polyline through points, in pixels */
export function path(
  points: readonly (readonly [number, number])[],
  attributes: Attributes,
): string {
  const d = points
    .map(([x, y], i) => `${i === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`)
    .join("");
  return element("path", { d, fill: "none", ...attributes });
}

/** @returns a straight line */
export function line(
  from: readonly [number, number],
  to: readonly [number, number],
  attributes: Attributes,
): string {
  return element("line", { x1: from[0], y1: from[1], x2: to[0], y2: to[1], ...attributes });
}

/** One picture. */
export interface Picture {
  readonly title: string;
  /** What a reader who cannot see it should know. */
  readonly description: string;
  readonly width: number;
  readonly height: number;
  readonly content: string;
}

const STYLE =
  "text{font:13px system-ui,'Segoe UI','DejaVu Sans',sans-serif;fill:#1b1f24}" +
  ".title{font-size:16px;font-weight:600}.small{font-size:11.5px;fill:#4d555e}" +
  ".axis{stroke:#4d555e}.grid{stroke:#e2e5e9}";

/** @returns a whole SVG document, usable as a file and inside HTML */
export function document({ title, description, width, height, content }: Picture): string {
  const head = element("title", {}, escape(title)) + element("desc", {}, escape(description));
  const style = element("style", {}, STYLE);
  const paper = element("rect", { width, height, fill: "#ffffff" });
  const caption = text(16, 26, title, { class: "title" });
  return element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
    },
    head + style + paper + caption + content,
  );
}

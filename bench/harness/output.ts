/** The only place of the suite that prints. Figures go to stdout, progress to stderr. */

/** @param text one or more lines for the reader of the figures */
export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** @param text one line for whoever waits */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/**
 * Three significant digits with a unit that fits.
 * @param value as stored in results
 * @param unit as stored in results
 */
export function formatValue(value: number, unit: string): string {
  if (Number.isNaN(value)) return "-";
  if (unit === "us") return formatUs(value);
  if (unit === "bytes") {
    if (Math.abs(value) >= 2 ** 20) return `${digits(value / 2 ** 20)} MiB`;
    if (Math.abs(value) >= 2 ** 10) return `${digits(value / 2 ** 10)} KiB`;
    return `${digits(value)} B`;
  }
  if (unit === "per_s") return `${digits(value)}/s`;
  if (unit === "ratio") return `${digits(value)}x`;
  return digits(value);
}

function formatUs(us: number): string {
  const size = Math.abs(us);
  if (size >= 1e6) return `${digits(us / 1e6)} s`;
  if (size >= 1e3) return `${digits(us / 1e3)} ms`;
  return `${digits(us)} us`;
}

function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return Number(value.toFixed(2)).toString();
}

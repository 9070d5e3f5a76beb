/** The straight line through points: growth per cycle, memory per sandbox. */

/** A point to fit. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * @param points any order; two or more different x
 * @returns slope of the line of least squares, NaN where there is no such line
 */
export function slopeOf(points: readonly Point[]): number {
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / points.length;
  let above = 0;
  let below = 0;
  for (const { x, y } of points) {
    above += (x - meanX) * (y - meanY);
    below += (x - meanX) ** 2;
  }
  return below > 0 ? above / below : Number.NaN;
}

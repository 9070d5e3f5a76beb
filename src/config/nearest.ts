/** "Did you mean …?": the nearest known word to one that is not known, for keys, flags and commands. */

/** Edits that a word of this length may be away and still be offered, in percent of its length. */
const DISTANCE_MAX_PERCENT = 40;

/** Shorter words are as near to every other short word; nothing is offered for them. */
const WORD_MIN_CHARS = 2;

/** Longest word that is compared at all, in characters: longer ones are not typing errors. */
const WORD_MAX_CHARS = 64;

/**
 * Optimal string alignment distance: insertions, deletions, substitutions and swapped neighbours.
 * @param a one word
 * @param b the other
 * @returns how many such edits lead from one to the other
 */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let best = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2];
      if (swapped && a[row - 2] === b[column - 1]) {
        best = Math.min(best, (beforePrevious[column - 2] ?? 0) + 1);
      }
      current.push(best);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length] ?? 0;
}

/**
 * @param word what was typed
 * @param known what exists
 * @returns the known word that was most likely meant, or null where none is close
 */
export function tryNearest(word: string, known: Iterable<string>): string | null {
  if (word.length < WORD_MIN_CHARS || word.length > WORD_MAX_CHARS) return null;
  const lower = word.toLowerCase();
  let nearest: string | null = null;
  let nearestDistance = Infinity;
  for (const candidate of known) {
    const other = candidate.toLowerCase();
    const startsAlike = lower.length >= 3 && (other.startsWith(lower) || lower.startsWith(other));
    const distance = startsAlike ? 1 : editDistance(lower, other);
    const allowed = Math.max(
      1,
      (Math.max(lower.length, other.length) * DISTANCE_MAX_PERCENT) / 100,
    );
    if (distance < nearestDistance && distance <= allowed) {
      nearest = candidate;
      nearestDistance = distance;
    }
  }
  return nearest;
}

/** Invariants: a failed assertion is a bug of ours, so it is never caught below `main`. */

/** A broken invariant. */
class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/**
 * @param condition what must hold
 * @param message what it means when it does not
 * @throws {AssertionError} when it does not hold
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

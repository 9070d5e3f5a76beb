/** The timer of the import cache, which tests replace. */

/**
 * Calls something regularly, without keeping the process alive for it.
 * @param intervalMs pause between two calls
 * @param run what to call
 * @returns a function that ends it
 */
export function everyUnref(intervalMs: number, run: () => void): () => void {
  const timer = setInterval(run, intervalMs);
  timer.unref();
  return () => {
    clearInterval(timer);
  };
}

/** Lambdas that experiments call. Each returns its event, so that nonces can be checked. */

/** Files by name. */
export type LambdaFiles = Readonly<Record<string, string>>;

/** Returns its event: the least a handler can do. */
export const ECHO: LambdaFiles = {
  "lambda_func.py": "def handler(event):\n    return event\n",
};

/**
 * Returns its event; where that says `leave`, its process ends by itself some 10 ms later, so that the sandbox is
 * gone without anything having evicted it. It must not end before its answer is written, however busy the
 * machine is: it waits until it was seen to wait (voluntary context switches). `_signal` is built into
 * Python, where `signal` would cost each call an import.
 */
export const LEAVING: LambdaFiles = {
  "lambda_func.py": [
    "import _signal",
    "import os",
    "",
    "_seen = []",
    "",
    "",
    "def _leave(*_):",
    "    import resource",
    "",
    "    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw",
    "    if _seen and switches > _seen[-1]:",
    "        os._exit(0)",
    "    _seen.append(switches)",
    "",
    "",
    "def handler(event):",
    '    if event.get("leave"):',
    "        _signal.signal(_signal.SIGALRM, _leave)",
    "        _signal.setitimer(_signal.ITIMER_REAL, 0.005, 0.005)",
    "    return event",
    "",
  ].join("\n"),
};

/**
 * @param modules imported at the top of the module
 * @param requirements lines of `packages.txt`
 * @returns a lambda that imports them and returns its event
 */
export function importing(
  modules: readonly string[],
  requirements: readonly string[],
): LambdaFiles {
  const imports = modules.map((module) => `import ${module}\n`).join("");
  return {
    "lambda_func.py": `${imports}\n\ndef handler(event):\n    return event\n`,
    "packages.txt": requirements.map((line) => `${line}\n`).join(""),
  };
}

/**
 * @param sizeBytes about how large the source is
 * @returns an echo with that much other code beside it, as generated clients and tables are
 */
export function bulky(sizeBytes: number): LambdaFiles {
  const lines = ["def handler(event):", "    return event", "", ""];
  let bytes = 40;
  for (let i = 0; bytes < sizeBytes; i++) {
    const code = `def unused_${i}(a, b):\n    if a > ${i}:\n        return {"k${i}": [a, b, ${i}]}\n    return a + b\n\n\n`;
    lines.push(code);
    bytes += code.length + 1;
  }
  return { "lambda_func.py": lines.join("\n") };
}

/**
 * @param count how many
 * @param files of each
 * @param prefix of their names
 * @returns that many lambdas that differ in name only
 */
export function many(
  count: number,
  files: LambdaFiles,
  prefix = "echo",
): Record<string, LambdaFiles> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`${prefix}-${i}`, files]));
}

/** @returns the path that runs a lambda */
export const runPath = (name: string): string => `/runLambda/${name}`;

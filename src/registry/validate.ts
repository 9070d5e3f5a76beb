/** Looks at a bundle before it is sent, so that mistakes show at the desk and not in production. */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SYNTAX_CHECK_TIMEOUT_MS } from "../common/limits.ts";
import { type BundleSummary, unpackBundle } from "./bundle.ts";
import { HANDLER_FILE, invalidCode } from "./code-path.ts";

/** What a check found. */
export interface BundleCheck extends BundleSummary {
  /** False where this machine has no Python to ask. */
  readonly syntaxChecked: boolean;
}

/** Parses without running; prints what is wrong, or nothing. */
const CHECK = `
import ast, sys
try:
    with open(sys.argv[1], "rb") as file:
        tree = ast.parse(file.read(), sys.argv[2])
    compile(tree, sys.argv[2], "exec")
except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
    line = getattr(error, "lineno", None)
    print("line %s: %s" % (line, getattr(error, "msg", error)) if line else error)
    sys.exit(0)
def names(node):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    return [name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)] + [
        found for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr) for found in names(child)]
found = [name for node in tree.body for name in names(node)]
if "handler" not in found and "*" not in found:
    print("it defines no handler(event)")
`;

/**
 * @param bundlePath a `.tar.gz`
 * @param python interpreter to check the syntax with; default: the first on the path
 * @returns what is in it
 * @throws {OlError} bundle_invalid: unsafe entries, no handler, syntax error
 */
export async function checkBundle(
  bundlePath: string,
  python: string | null = Bun.which("python3"),
): Promise<BundleCheck> {
  const stage = mkdtempSync(join(tmpdir(), "ol-check-"));
  try {
    const code = join(stage, "code");
    mkdirSync(code);
    const summary = await unpackBundle(bundlePath, code);
    if (python === null) return { ...summary, syntaxChecked: false };
    const child = Bun.spawn(
      [python, "-I", "-S", "-B", "-c", CHECK, join(code, HANDLER_FILE), HANDLER_FILE],
      {
        cwd: "/",
        env: {},
        stdin: "ignore",
        stdout: "pipe",
        stderr: "ignore",
        timeout: SYNTAX_CHECK_TIMEOUT_MS,
        killSignal: "SIGKILL",
      },
    );
    const said = (await new Response(child.stdout).text()).trim();
    const failed = (await child.exited) !== 0;
    if (said !== "") throw invalidCode(`Cannot use the bundle: ${HANDLER_FILE}: ${said}`);
    return { ...summary, syntaxChecked: !failed };
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** How the executable is compiled, for this machine or another one. */

import { join } from "node:path";

import packageJson from "../package.json";

/** Root of the project. */
export const ROOT = join(import.meta.dir, "..");

/** A compile takes about two seconds, a download of another target's runtime some more. */
const BUILD_TIMEOUT_MS = 300_000;

/**
 * Why each flag: bytecode, ESM and splitting make `ol --version` start in a few milliseconds; the
 * autoload flags keep a `bunfig.toml` or `.env` of the current directory from running code as root;
 * minifying identifiers too would rename error classes; NODE_ENV is otherwise inlined as
 * "development", which makes the HTTP server show its insides.
 */
const FLAGS = [
  "--minify-syntax",
  "--minify-whitespace",
  "--format=esm",
  "--splitting",
  "--define",
  'process.env.NODE_ENV="production"',
  "--define",
  `VERSION=${JSON.stringify(packageJson.version)}`,
  // An optional native part of dockerode's ssh client, which is asked for inside a try.
  "--external",
  "cpu-features",
];

const COMPILE_FLAGS = [
  "--compile",
  "--sourcemap",
  "--bytecode",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];

/**
 * Runs `bun build` on the program. A failure to make bytecode leaves exit status 0, so the text counts.
 * @param args flags beside those that every build has
 */
function bunBuild(args: readonly string[]): void {
  const argv = [process.execPath, "build", ...FLAGS, ...args, join(ROOT, "src/main.ts")];
  const result = Bun.spawnSync(argv, {
    cwd: ROOT,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: BUILD_TIMEOUT_MS,
  });
  const output = `${result.stdout.toString()}${result.stderr.toString()}`;
  if (result.exitCode !== 0 || /\berror:|Failed to generate bytecode/i.test(output)) {
    process.stderr.write(output);
    throw new Error(`Cannot compile bin/ol: bun build exited with ${result.exitCode}`);
  }
}

/**
 * Compiles the executable.
 * @param outputPath where to
 * @param target `linux-x64`, `linux-arm64-musl` …; default: this machine
 */
export function compile(outputPath: string, target?: string): void {
  const platform = target === undefined ? [] : [`--target=bun-${target}`];
  bunBuild([...COMPILE_FLAGS, ...platform, "--outfile", outputPath]);
}

/**
 * Bundles the same modules without the runtime, with a source map for each file.
 * @param outputDir an empty directory
 */
export function bundle(outputDir: string): void {
  bunBuild(["--target=bun", "--sourcemap=external", "--outdir", outputDir]);
}

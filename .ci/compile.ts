/** How the executable is compiled, for this machine or another one. */

import { isBuiltin } from "node:module";
import { join } from "node:path";

import packageJson from "../package.json";

/** Root of the project. */
export const ROOT = join(import.meta.dir, "..");

/**
 * What dependencies ask for inside a try and do without: native parts of dockerode's ssh client, and
 * colours of a debug log. Left as they are, they would be looked for below the directory in which the
 * executable is started, and what lies there would run as root.
 */
const LEFT_OUT = /^(cpu-features|supports-color)$|\.node$/;

const LEAVES_OUT: Bun.BunPlugin = {
  name: "leave-out",
  setup(build) {
    build.onResolve({ filter: LEFT_OUT }, ({ path }) => ({ path, namespace: "left-out" }));
    build.onLoad({ filter: /./, namespace: "left-out" }, ({ path }) => ({
      contents: `throw new Error("${path} is not part of this program")`,
      loader: "js",
    }));
  },
};

/**
 * Why each setting: bytecode, ESM and splitting make `ol --version` start in a few milliseconds;
 * minifying identifiers too would rename error classes; NODE_ENV is otherwise inlined as
 * "development", which makes the HTTP server show its insides.
 */
const SETTINGS = {
  entrypoints: [join(ROOT, "src/main.ts")],
  root: ROOT,
  target: "bun",
  format: "esm",
  splitting: true,
  minify: { syntax: true, whitespace: true, identifiers: false },
  define: {
    "process.env.NODE_ENV": '"production"',
    VERSION: JSON.stringify(packageJson.version),
  },
  plugins: [LEAVES_OUT],
  metafile: true,
  throw: false,
} as const satisfies Partial<Bun.BuildConfig>;

/** No file of the directory in which the executable is started may change what it runs. */
const AUTOLOADS_NOTHING = {
  autoloadDotenv: false,
  autoloadBunfig: false,
  autoloadTsconfig: false,
  autoloadPackageJson: false,
} as const;

/** Modules that would be looked for at run time: the runtime's own are the only ones that may be. */
function foreignImports(metafile: Bun.BuildMetafile): string[] {
  return Object.entries(metafile.inputs).flatMap(([file, { imports }]) =>
    imports
      // Another output of the same build has the entry that it was built from.
      .filter(({ external, entryPoint }) => external === true && entryPoint === undefined)
      .filter(({ path }) => !isBuiltin(path) && !path.startsWith("./chunk-"))
      .map(({ path }) => `${path} (asked for by ${file})`),
  );
}

/** A failure to make bytecode is a message of a build that succeeds, so messages count. */
function messageOf(result: Bun.BuildOutput): string | null {
  const failures = result.logs.filter(
    ({ level, message }) => level === "error" || /bytecode/i.test(message),
  );
  if (result.success && failures.length === 0) return null;
  return result.logs.map(String).join("\n");
}

async function bunBuild(more: Partial<Bun.BuildConfig>): Promise<void> {
  const result = await Bun.build({ ...SETTINGS, ...more } as Bun.BuildConfig);
  const message = messageOf(result);
  if (message !== null) throw new Error(`Cannot compile bin/ol: ${message}`);
  if (result.metafile === undefined) throw new Error("Cannot compile bin/ol: no list of imports");
  const foreign = foreignImports(result.metafile);
  if (foreign.length > 0) {
    throw new Error(`Cannot compile bin/ol: not part of it would be ${foreign.join(", ")}`);
  }
}

/**
 * Compiles the executable.
 * @param outputPath where to
 * @param target `linux-x64`, `linux-arm64-musl` …; default: this machine
 * @throws {Error} where it cannot be built, or would look for modules when it runs
 */
export async function compile(outputPath: string, target?: string): Promise<void> {
  const platform =
    target === undefined ? {} : { target: `bun-${target}` as Bun.Build.CompileTarget };
  await bunBuild({
    sourcemap: "linked",
    bytecode: true,
    compile: { outfile: outputPath, ...platform, ...AUTOLOADS_NOTHING },
  });
}

/**
 * Bundles the same modules without the runtime, with a source map for each file.
 * @param outputDir an empty directory
 * @throws {Error} where it cannot be built
 */
export async function bundle(outputDir: string): Promise<void> {
  await bunBuild({ sourcemap: "external", outdir: outputDir });
}

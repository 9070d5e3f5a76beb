/**
 * A package index of the suite's own on loopback, with packages made to measure: what they import is known to
 * the millisecond and the megabyte, and no network is needed.
 */

import { join } from "node:path";

/** A package of one module; distribution and module have the same name. */
export interface FixturePackage {
  /** Letters, digits and "_". */
  readonly module: string;
  /** Python source. */
  readonly source: string;
}

const VERSION = "1.0";

/**
 * @param module its name
 * @param ms how long its import computes
 */
export function slowPackage(module: string, ms: number): FixturePackage {
  const source = [
    "import time",
    "",
    `_end = time.perf_counter() + ${ms / 1000}`,
    "while time.perf_counter() < _end:",
    "    pass",
    "",
  ];
  return { module, source: source.join("\n") };
}

/**
 * @param module its name
 * @param mb how much memory it holds once imported, every page of it written
 */
export function heavyPackage(module: string, mb: number): FixturePackage {
  return { module, source: `BALLAST = bytearray(b"x") * (${mb} << 20)\n` };
}

/** Serves wheels; in the suite's own process, which does nothing else while packages install. */
export class PackageIndex {
  readonly #server: ReturnType<typeof Bun.serve>;

  private constructor(server: ReturnType<typeof Bun.serve>) {
    this.#server = server;
  }

  /**
   * @param dir for the wheels
   * @param packages to offer
   * @throws {Error} when Python cannot write a wheel
   */
  static async start(dir: string, packages: readonly FixturePackage[]): Promise<PackageIndex> {
    const pages = new Map<string, string>();
    for (const { module, source } of packages) {
      const digest = await makeWheel(dir, module, source);
      const file = `${module}-${VERSION}-py3-none-any.whl`;
      const page = `<!doctype html><a href="/files/${file}#sha256=${digest}">${file}</a>`;
      pages.set(`/simple/${module.replaceAll("_", "-")}/`, page);
    }
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      development: false,
      fetch: (request) => {
        const { pathname } = new URL(request.url);
        const page = pages.get(pathname);
        if (page !== undefined)
          return new Response(page, { headers: { "content-type": "text/html" } });
        const name = /^\/files\/([\w.-]+\.whl)$/.exec(pathname)?.[1];
        if (name === undefined) return new Response("no such package", { status: 404 });
        return new Response(Bun.file(join(dir, name)));
      },
    });
    return new PackageIndex(server);
  }

  /** For `pip_mirror` and pip's `--index-url`. */
  get url(): string {
    return `http://127.0.0.1:${this.#server.port}/simple`;
  }

  /** Stops serving. */
  async close(): Promise<void> {
    await this.#server.stop(true);
  }
}

/** Writes a wheel; returns its digest. */
async function makeWheel(dir: string, module: string, source: string): Promise<string> {
  const script = new URL("make_wheel.py", import.meta.url).pathname;
  const child = Bun.spawn(["/usr/bin/python3", script, dir, module, VERSION], {
    stdin: new Blob([source]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [digest, words] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`Cannot make the wheel of ${module}: ${words}`);
  return digest.trim();
}

/** The local registry: versions, copies under change, hostile owners of a lambda's directory. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { OlError } from "../../../src/common/errors.ts";
import { DirectoryRegistry } from "../../../src/registry/directory.ts";
import { packBundle } from "../../../src/registry/pack.ts";
import { copyTree } from "../../../src/registry/tree.ts";
import { bundleOf, HANDLER, TempDir } from "./archives.ts";

const CODE = HANDLER.body as string;

class Fixture extends TempDir {
  readonly dir = join(this.path, "registry");
  readonly registry = new DirectoryRegistry(this.dir);
  #pulls = 0;

  constructor() {
    super();
    mkdirSync(this.dir);
  }

  write(file: string, text: string | Uint8Array): string {
    const path = join(this.dir, file);
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  async version(name: string): Promise<string | null> {
    return (await this.registry.resolve(name))?.id ?? null;
  }

  async pull(name: string): Promise<{ id: string; files: string[]; dir: string }> {
    const dir = join(this.path, `pull-${this.#pulls++}`);
    mkdirSync(dir);
    const { id } = await this.registry.pull(name, { id: "whatever" }, dir);
    return { id, dir, files: readdirSync(dir, { recursive: true, encoding: "utf8" }).toSorted() };
  }

  /** The failure of a pull; checks that nothing is left of it. */
  async refusal(name: string): Promise<OlError> {
    const error = await this.pull(name).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OlError);
    for (const entry of readdirSync(this.path)) {
      expect(entry).toMatch(/^(registry|pull-\d+)$/);
      if (entry !== "registry") expect(readdirSync(join(this.path, entry))).toEqual([]);
    }
    return error as OlError;
  }
}

describe("DirectoryRegistry", () => {
  let fixture: Fixture;
  beforeEach(() => {
    fixture = new Fixture();
  });
  afterEach(() => fixture[Symbol.dispose]());

  test("resolve() gives null for what is not there or cannot be a name", async () => {
    fixture.write("plainfile", "x");
    for (const name of ["nothing", "plainfile", "..", ".", "a/b", "", "x".repeat(200)]) {
      expect(await fixture.version(name)).toBeNull();
    }
  });

  test("resolve() keeps its answer while nothing changes", async () => {
    fixture.write("hello/lambda_func.py", CODE);
    const first = await fixture.version("hello");
    expect(first).toBeString();
    fixture.write("hello/__pycache__/lambda_func.cpython-311.pyc", "cache");
    expect(await fixture.version("hello")).toBe(first as string);
  });

  const changes: [string, (path: string) => void][] = [
    ["content of the same size", (path) => writeFileSync(path, CODE.replace("event", "EVENT"))],
    [
      "content of the same size with its old time put back",
      (path) => {
        const { atime, mtime } = statSync(path);
        writeFileSync(path, CODE.replace("event", "EVENT"));
        utimesSync(path, atime, mtime);
      },
    ],
    [
      "a file replaced by a rename",
      (path) => {
        writeFileSync(`${path}.new`, CODE);
        renameSync(`${path}.new`, path);
      },
    ],
    ["a file more", (path) => writeFileSync(join(path, "../packages.txt"), "numpy\n")],
    ["a file in a directory", (path) => mkdirSync(join(path, "../lib"))],
    ["the execute bit", (path) => chmodSync(path, 0o755)],
  ];
  test.each(changes)("resolve() notices %s", async (_what, change) => {
    const path = fixture.write("hello/lambda_func.py", CODE);
    await fixture.pull("hello");
    const before = await fixture.version("hello");
    change(path);
    expect(await fixture.version("hello")).not.toBe(before);
  });

  test("pull() copies files and directories with plain modes", async () => {
    chmodSync(fixture.write("hello/lambda_func.py", CODE), 0o600);
    chmodSync(fixture.write("hello/bin/tool", "#!/bin/sh\n"), 0o4711);
    fixture.write("hello/.git/config", "x");
    fixture.write("hello/__pycache__/a.pyc", "x");
    mkdirSync(join(fixture.dir, "hello/empty"));
    const { id, files, dir } = await fixture.pull("hello");
    expect(id).toBe((await fixture.version("hello")) as string);
    expect(files).toEqual(["bin", "bin/tool", "empty", "lambda_func.py"]);
    const mode = (file: string): number => statSync(join(dir, file)).mode & 0o7777;
    expect([mode("lambda_func.py"), mode("bin/tool"), mode("bin"), mode("")]).toEqual([
      0o644, 0o755, 0o755, 0o755,
    ]);
  });

  test("pull() replaces links that stay inside and leaves out dangling ones", async () => {
    fixture.write("hello/lambda_func.py", CODE);
    fixture.write("hello/lib/a.py", "A = 1\n");
    symlinkSync("lib/a.py", join(fixture.dir, "hello/a.py"));
    symlinkSync("lib", join(fixture.dir, "hello/lib2"));
    symlinkSync("user@host.123", join(fixture.dir, "hello/.#lambda_func.py"));
    const { files, dir } = await fixture.pull("hello");
    expect(files).toEqual(["a.py", "lambda_func.py", "lib", "lib/a.py", "lib2", "lib2/a.py"]);
    expect(readFileSync(join(dir, "lib2/a.py"), "utf8")).toBe("A = 1\n");
  });

  const tricks: [string, (dir: string, outside: string) => void, RegExp][] = [
    ["a link to a file outside", (dir) => symlinkSync("/etc/passwd", join(dir, "x")), /leaves/],
    ["a link to a directory outside", (dir, out) => symlinkSync(out, join(dir, "x")), /leaves/],
    ["a relative link outside", (dir) => symlinkSync("../other/f", join(dir, "x")), /leaves/],
    [
      "a link to a neighbour whose name begins the same",
      (dir) => symlinkSync("../hello2/f", join(dir, "x")),
      /leaves/,
    ],
    ["a link to its own directory", (dir) => symlinkSync(".", join(dir, "x")), /parent of itself/],
    ["a link to itself", (dir) => symlinkSync("x", join(dir, "x")), /loop/],
    [
      "a device behind a link",
      (dir) => symlinkSync("/dev/zero", join(dir, "x")),
      /leaves the lambda's directory/,
    ],
    [
      "a FIFO",
      (dir) => expect(Bun.spawnSync(["mkfifo", join(dir, "x")]).exitCode).toBe(0),
      /neither a file nor a directory/,
    ],
    [
      "too many levels",
      (dir) => mkdirSync(join(dir, "d/".repeat(40)), { recursive: true }),
      /levels/,
    ],
    ["no handler", (dir) => rmSync(join(dir, "lambda_func.py")), /no file lambda_func\.py/],
  ];
  test.each(tricks)("pull() refuses %s and leaves nothing behind", async (_what, trick, why) => {
    fixture.write("hello/lambda_func.py", CODE);
    fixture.write("other/f", "secret");
    fixture.write("hello2/f", "secret");
    trick(join(fixture.dir, "hello"), join(fixture.dir, "other"));
    const error = await fixture.refusal("hello");
    expect(error.code).toBe("bundle_invalid");
    expect(error.message).toMatch(why);
    expect(error.message).not.toContain(fixture.path);
  });

  test("copyTree() never copies a file from outside while names are swapped under it", async () => {
    fixture.write("hello/lambda_func.py", CODE);
    fixture.write("hello/d/f", "inside");
    fixture.write("secret/f", "outside");
    const dir = join(fixture.dir, "hello");
    const swapper = Bun.spawn(
      [
        "sh",
        "-c",
        'cd "$1" && while :; do mv d e; ln -s ../secret d; rm d; mv e d; done',
        "sh",
        dir,
      ],
      { stdout: "ignore", stderr: "ignore" },
    );
    try {
      for (let round = 0; round < 400; round++) {
        // Without the look at versions that pull() takes before and after, which hides most of it.
        const copy = join(fixture.path, `copy-${round}`);
        mkdirSync(copy);
        await copyTree(dir, copy).catch((error: unknown) => expect(error).toBeInstanceOf(Error));
        const files = readdirSync(copy, { recursive: true, encoding: "utf8" });
        for (const file of files.filter((name) => name.endsWith("/f"))) {
          expect(["inside", ""]).toContain(readFileSync(join(copy, file), "utf8"));
        }
      }
    } finally {
      swapper.kill("SIGKILL");
      await swapper.exited;
    }
  }, 60_000);

  test("pull() gives one whole version while the files change", async () => {
    // Two files that always hold the same number: a mix of two versions would show.
    fixture.write("hello/lambda_func.py", "0");
    fixture.write("hello/twin", "0");
    // Each file is replaced whole: a writer held up between truncating and writing leaves an empty one.
    const replace = (name: string): string => `echo $n > "$1.new"; mv "$1.new" "$1/${name}"`;
    const script = `n=0; while :; do n=$((n+1)); ${replace("lambda_func.py")}; ${replace("twin")}; sleep 0.02; done`;
    const writer = Bun.spawn(["sh", "-c", script, "sh", join(fixture.dir, "hello")]);
    let mixed = 0;
    let whole = 0;
    try {
      for (let round = 0; round < 20; round++) {
        const pulled = await fixture.pull("hello").catch((error: unknown) => error);
        if (pulled instanceof OlError) {
          expect(pulled.code).toBe("registry_unavailable");
          expect(pulled.retryable).toBe(true);
          continue;
        }
        const { dir } = pulled as { dir: string };
        const [a, b] = ["lambda_func.py", "twin"].map((file) =>
          Number(readFileSync(join(dir, file), "utf8")),
        );
        // The writer itself is between its two writes for a moment: one apart is what was there.
        if (Math.abs((a ?? 0) - (b ?? 0)) > 1) mixed++;
        else whole++;
      }
    } finally {
      writer.kill("SIGKILL");
      await writer.exited;
    }
    expect(mixed).toBe(0);
    expect(whole).toBeGreaterThan(0);
  }, 60_000);

  test("a bundle is a lambda, and a directory of that name comes first", async () => {
    fixture.write("hello.tar.gz", bundleOf(HANDLER));
    const bundled = await fixture.pull("hello");
    expect(bundled.files).toEqual(["lambda_func.py"]);
    expect(bundled.id).toBe((await fixture.version("hello")) as string);
    fixture.write("hello/lambda_func.py", "other");
    expect(readFileSync(join((await fixture.pull("hello")).dir, "lambda_func.py"), "utf8")).toBe(
      "other",
    );
  });

  test("a broken bundle is refused with its reason", async () => {
    fixture.write("hello.tar.gz", "not a bundle");
    expect((await fixture.refusal("hello")).code).toBe("bundle_invalid");
  });

  test("put() sets a directory aside for the bundle, and remove() ends the lambda", async () => {
    fixture.write("hello/lambda_func.py", "old");
    const source = join(fixture.path, "source");
    mkdirSync(source);
    writeFileSync(join(source, "lambda_func.py"), CODE);
    const bundle = join(fixture.path, "pull-bundle.tar.gz");
    await packBundle(source, bundle);
    const told: number[] = [];
    const before = await fixture.version("hello");
    const put = await fixture.registry.put("hello", bundle, (sent) => told.push(sent));
    const { id, keptDir = "" } = put;
    expect(id).not.toBe(before as string);
    expect(told.at(-1)).toBe(statSync(bundle).size);
    expect(readdirSync(fixture.dir).toSorted()).toEqual(["hello.tar.gz", basename(keptDir)]);
    expect(readFileSync(join(keptDir, "lambda_func.py"), "utf8")).toBe("old");
    expect(readFileSync(join((await fixture.pull("hello")).dir, "lambda_func.py"), "utf8")).toBe(
      CODE,
    );
    expect(await fixture.registry.list()).toMatchObject([{ name: "hello", version: id }]);
    expect(await fixture.registry.remove("hello")).toBe(true);
    expect(await fixture.registry.remove("hello")).toBe(false);
    expect(readdirSync(fixture.dir)).toEqual([basename(keptDir)]);
  });

  test("remove() takes a link away, not what it points to", async () => {
    const real = join(fixture.path, "pull-real");
    mkdirSync(real);
    writeFileSync(join(real, "lambda_func.py"), CODE);
    symlinkSync(real, join(fixture.dir, "hello"));
    expect((await fixture.pull("hello")).files).toEqual(["lambda_func.py"]);
    expect(await fixture.registry.remove("hello")).toBe(true);
    expect(readdirSync(real)).toEqual(["lambda_func.py"]);
  });

  test("put() of two at once leaves one of them, whole", async () => {
    const bundles = ["a", "b"].map((text) => {
      const path = join(fixture.path, `pull-${text}.tar.gz`);
      writeFileSync(path, bundleOf({ path: "lambda_func.py", body: text.repeat(5000) }));
      return path;
    });
    await Promise.all(bundles.map((bundle) => fixture.registry.put("hello", bundle)));
    const text = readFileSync(join((await fixture.pull("hello")).dir, "lambda_func.py"), "utf8");
    expect(["a".repeat(5000), "b".repeat(5000)]).toContain(text);
  });

  test("list() shows lambdas only, sorted", async () => {
    fixture.write("b/lambda_func.py", CODE);
    fixture.write("a.tar.gz", bundleOf(HANDLER));
    fixture.write("readme.txt", "x");
    mkdirSync(join(fixture.dir, "@s3"));
    fixture.write("c~temp/lambda_func.py", CODE);
    const names = (await fixture.registry.list()).map((entry) => entry.name);
    expect(names).toEqual(["a", "b"]);
  });

  test("a registry that is not there is unavailable for list() and empty for resolve()", async () => {
    rmSync(fixture.dir, { recursive: true });
    expect(await fixture.version("hello")).toBeNull();
    const error = await fixture.registry.list().catch((thrown: unknown) => thrown);
    expect((error as OlError).code).toBe("registry_unavailable");
    expect((error as OlError).message).not.toContain(fixture.path);
  });
});

describe("packBundle()", () => {
  test("gives the same bytes for the same files whatever their times", async () => {
    using temp = new TempDir();
    const pack = async (name: string): Promise<Uint8Array> => {
      const source = join(temp.path, name);
      mkdirSync(join(source, "lib"), { recursive: true });
      for (const file of name === "one" ? ["b", "a"] : ["a", "b"]) {
        writeFileSync(join(source, "lib", file), file);
      }
      writeFileSync(join(source, "lambda_func.py"), CODE);
      writeFileSync(join(source, "@x"), "not an archive");
      utimesSync(join(source, "lib/a"), name.length * 1000, name.length * 1000);
      const dest = join(temp.path, `${name}.tar.gz`);
      const summary = await packBundle(source, dest);
      expect(summary).toMatchObject({ files: 4, directories: 1 });
      return readFileSync(dest);
    };
    expect(Buffer.compare(await pack("one"), await pack("second"))).toBe(0);
  });

  test("refuses links that leave and leaves no file", async () => {
    using temp = new TempDir();
    const source = join(temp.path, "s");
    mkdirSync(source);
    writeFileSync(join(source, "lambda_func.py"), CODE);
    symlinkSync("/etc/shadow", join(source, "x"));
    const error = await packBundle(source, join(temp.path, "o")).catch((e: unknown) => e);
    expect((error as OlError).code).toBe("bundle_invalid");
    expect(readdirSync(temp.path)).toEqual(["s"]);
  });
});

/** Root file systems from archives and directories: what is kept, what is left out, what is refused. */

import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { linkSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { chmodSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Header } from "tar";
import { createBase, parseBaseSpec, readBaseManifest } from "../../../src/base/base.ts";
import { copyDirectory } from "../../../src/base/directory-source.ts";
import { RootWriter } from "../../../src/base/root-writer.ts";
import { unpackTarStream } from "../../../src/base/tar-source.ts";
import { OlError } from "../../../src/common/errors.ts";

let dir: string;
let root: string;
let outside: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ol-tar-"));
  root = join(dir, "root");
  outside = join(dir, "outside");
  mkdirSync(root);
  mkdirSync(outside);
  writeFileSync(join(outside, "victim"), "untouched");
});

afterEach(() => {
  expect(readdirSync(outside)).toEqual(["victim"]);
  expect(readFileSync(join(outside, "victim"), "utf8")).toBe("untouched");
  rmSync(dir, { recursive: true, force: true });
});

type Type = "File" | "Directory" | "SymbolicLink" | "Link" | "CharacterDevice" | "FIFO";

interface Entry {
  readonly path: string;
  readonly type?: Type;
  readonly mode?: number;
  readonly linkpath?: string;
  readonly body?: string;
}

/** A tar archive with exactly these headers, however hostile. */
function tarOf(entries: readonly Entry[], { whole = true } = {}): Uint8Array {
  const blocks: Buffer[] = [];
  for (const { path, type = "File", mode = 0o644, linkpath = "", body = "" } of entries) {
    const block = Buffer.alloc(512);
    const size = type === "File" ? Buffer.byteLength(body) : 0;
    const link = linkpath === "" ? {} : { linkpath };
    new Header({ path, type, mode, size, mtime: new Date(1e12), uid: 7, gid: 7, ...link }).encode(
      block,
    );
    blocks.push(block);
    if (size > 0) blocks.push(Buffer.from(body.padEnd(Math.ceil(size / 512) * 512, "\0")));
  }
  return Buffer.concat(whole ? [...blocks, Buffer.alloc(1024)] : blocks);
}

async function unpack(bytes: Uint8Array): Promise<void> {
  const stream = new Response(bytes).body;
  if (stream === null) throw new Error("no body");
  await unpackTarStream(stream, "test.tar", new RootWriter(root, "test.tar"), undefined);
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => new Error("it was accepted"),
    (cause: unknown) => cause,
  );
  if (!(error instanceof OlError)) throw error;
  expect(error.code).toBe("base_invalid");
  return error.message;
}

test("unpackTarStream() keeps modes, times and links, and gives everything to root", async () => {
  await unpack(
    tarOf([
      { path: "./", type: "Directory", mode: 0o755 },
      { path: "usr/bin/", type: "Directory", mode: 0o555 },
      { path: "usr/bin/tool", mode: 0o751, body: "#!" },
      { path: "usr/bin/again", type: "Link", linkpath: "usr/bin/tool" },
      { path: "bin", type: "SymbolicLink", linkpath: "/usr/bin" },
      { path: "/var/tmp/", type: "Directory", mode: 0o1777 },
    ]),
  );
  const tool = statSync(join(root, "usr/bin/tool"));
  expect([tool.mode & 0o7777, tool.mtimeMs, tool.uid, tool.nlink]).toEqual([0o751, 1e12, 0, 2]);
  expect(readlinkSync(join(root, "bin"))).toBe("/usr/bin");
  expect(statSync(join(root, "usr/bin")).mode & 0o7777).toBe(0o755);
  expect(statSync(join(root, "var/tmp")).mode & 0o7777).toBe(0o1777);
});

test("unpackTarStream() leaves out privileges, devices and what belongs to a running system", async () => {
  await unpack(
    tarOf([
      { path: "su", mode: 0o6755, body: "x" },
      { path: "disk", type: "CharacterDevice" },
      { path: "pipe", type: "FIFO" },
      { path: "dev/", type: "Directory" },
      { path: "dev/sda", body: "x" },
      { path: "proc/1/environ", body: "x" },
      { path: "run/secrets/key", body: "x" },
      { path: ".dockerenv", body: "" },
    ]),
  );
  expect(readdirSync(root).toSorted()).toEqual(["dev", "su"]);
  expect(readdirSync(join(root, "dev"))).toEqual([]);
  expect(statSync(join(root, "su")).mode & 0o7777).toBe(0o755);
});

test("unpackTarStream() follows links inside the root, as chroot would, and never out of it", async () => {
  await unpack(
    tarOf([
      { path: "lib", type: "SymbolicLink", linkpath: "/usr/lib" },
      { path: "lib/a", body: "a" },
      { path: "up", type: "SymbolicLink", linkpath: `../../../../..${outside}` },
      { path: "up/victim", body: "overwritten" },
      { path: "direct", type: "SymbolicLink", linkpath: outside },
      { path: "direct/victim", body: "overwritten" },
      { path: "file", type: "SymbolicLink", linkpath: join(outside, "victim") },
      { path: "file", body: "a file now" },
    ]),
  );
  expect(readFileSync(join(root, "usr/lib/a"), "utf8")).toBe("a");
  expect(readFileSync(join(root, outside, "victim"), "utf8")).toBe("overwritten");
  expect(lstatSync(join(root, "file")).isFile()).toBe(true);
});

for (const [what, entries, words] of [
  ["a path that leads out", [{ path: "../outside/victim", body: "x" }], "leads out of it"],
  [
    "a path that leads out further down",
    [{ path: "a/../../outside/victim", body: "x" }],
    "leads out",
  ],
  [
    "a hard link to what is not in it",
    [{ path: "link", type: "Link", linkpath: "/etc/shadow" }],
    "which is not a file in it",
  ],
  [
    "a hard link through a link to the host",
    [
      { path: "out", type: "SymbolicLink", linkpath: "/" },
      { path: "link", type: "Link", linkpath: "out/etc/hostname" },
    ],
    "which is not a file in it",
  ],
  [
    "links in a circle",
    [
      { path: "a", type: "SymbolicLink", linkpath: "b" },
      { path: "b", type: "SymbolicLink", linkpath: "a" },
      { path: "a/x", body: "x" },
    ],
    "go in a circle",
  ],
  [
    "a file where a directory is needed",
    [
      { path: "a", body: "x" },
      { path: "a/b", body: "x" },
    ],
    "a file is on the way",
  ],
  [
    "a file in place of a full directory",
    [
      { path: "a/b", body: "x" },
      { path: "a", body: "x" },
    ],
    "both as a directory and as something else",
  ],
] as const satisfies readonly (readonly [string, readonly Entry[], string])[]) {
  test(`unpackTarStream() refuses ${what}`, async () => {
    expect(await refusal(unpack(tarOf(entries)))).toContain(words);
  });
}

test("unpackTarStream() refuses what is cut off or no archive at all", async () => {
  const good = tarOf([{ path: "a", body: "x".repeat(5000) }]);
  expect(await refusal(unpack(good.subarray(0, 2000)))).toContain("test.tar");
  expect(await refusal(unpack(tarOf([{ path: "a", body: "x" }], { whole: false })))).toContain(
    "ends in the middle",
  );
  expect(await refusal(unpack(Buffer.from("not a tar archive")))).toContain("test.tar");
  expect(await refusal(unpack(Bun.gzipSync(new Uint8Array(good)).subarray(0, 40)))).toContain(
    "test.tar",
  );
});

test("unpackTarStream() reads gzip", async () => {
  await unpack(Bun.gzipSync(new Uint8Array(tarOf([{ path: "a", body: "packed" }]))));
  expect(readFileSync(join(root, "a"), "utf8")).toBe("packed");
});

test("copyDirectory() copies without following links and keeps hard links together", async () => {
  const from = join(dir, "from");
  mkdirSync(join(from, "sub"), { recursive: true });
  mkdirSync(join(from, "proc"));
  writeFileSync(join(from, "proc/stale"), "");
  writeFileSync(join(from, "sub/one"), "text");
  chmodSync(join(from, "sub/one"), 0o4711);
  utimesSync(join(from, "sub/one"), 1000, 1000);
  linkSync(join(from, "sub/one"), join(from, "two"));
  symlinkSync(outside, join(from, "away"));
  await copyDirectory(from, new RootWriter(root, "from"), undefined);
  const one = statSync(join(root, "sub/one"));
  expect([one.mode & 0o7777, one.mtimeMs, one.nlink]).toEqual([0o711, 1_000_000, 2]);
  expect(readlinkSync(join(root, "away"))).toBe(outside);
  expect(readdirSync(join(root, "proc"))).toEqual([]);
});

test("copyDirectory() refuses a directory that holds the base, and what is none", async () => {
  expect(await refusal(copyDirectory(dir, new RootWriter(root, "x"), undefined))).toContain(
    "inside it",
  );
  const none = copyDirectory(join(dir, "none"), new RootWriter(root, "x"), undefined);
  expect(await refusal(none)).toContain("not a directory");
});

for (const [what, make, words] of [
  ["no Python", [{ path: "etc/motd", body: "hi" }], "has no python3"],
  [
    "a Python that does not run",
    [{ path: "usr/bin/python3", mode: 0o755, body: "#!/no/such\n" }],
    "/usr/bin/python3 does not run",
  ],
] as const satisfies readonly (readonly [string, readonly Entry[], string])[]) {
  test(`createBase() refuses a root with ${what} and leaves nothing`, async () => {
    const file = join(dir, "root.tar");
    writeFileSync(file, tarOf(make));
    const message = await refusal(createBase({ spec: `tar:${file}`, dir: join(dir, "base") }));
    expect(message).toContain(words);
    expect(readdirSync(dir).toSorted()).toEqual(["outside", "root", "root.tar"]);
  });
}

test("createBase() refuses a file that is not there and a place that is taken", async () => {
  const none = createBase({ spec: `tar:${join(dir, "none.tar")}`, dir: join(dir, "base") });
  expect(await refusal(none)).toContain("none.tar");
  const taken = createBase({ spec: "host", dir: outside });
  expect(await refusal(taken)).toContain("not empty");
  expect(existsSync(join(dir, "base"))).toBe(false);
});

test("createBase() takes an empty directory and removes what a killed attempt left", async () => {
  mkdirSync(join(dir, "base"));
  mkdirSync(join(dir, ".base.partial-4194305-aa", "rootfs"), { recursive: true });
  await createBase({ spec: "host", dir: join(dir, "base") });
  expect(readdirSync(dir).toSorted()).toEqual(["base", "outside", "root"]);
});

test("parseBaseSpec() knows four forms and says so", () => {
  expect(parseBaseSpec("host")).toEqual({ kind: "host", source: "" });
  expect(parseBaseSpec("docker:a/b:1")).toEqual({ kind: "docker", source: "a/b:1" });
  for (const spec of ["", "hosts", "tar:", "zip:x", "dir", "dir:a\0b"]) {
    expect(() => parseBaseSpec(spec)).toThrow("wanted host, dir:DIR, tar:FILE or docker:IMAGE");
  }
});

test("readBaseManifest() refuses what is no base", () => {
  expect(() => readBaseManifest(outside)).toThrow("it has no base.json");
  for (const [text, words] of [
    ["{", "is not JSON"],
    ["{}", "lacks or misspells"],
    ["null", "lacks or misspells"],
    ['{"kind":"host","binds":[{"source":"usr"}]}', "lacks or misspells"],
  ] as const) {
    writeFileSync(join(root, "base.json"), text);
    expect(() => readBaseManifest(root)).toThrow(words);
  }
});

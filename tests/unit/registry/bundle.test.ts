/** Attacks on the unpacking of bundles (FAULTS D): refused, and nothing left behind. */

import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { lstatSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createGzip, gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { OlError } from "../../../src/common/errors.ts";
import { BUNDLE_MAX_BYTES, CODE_MAX_BYTES } from "../../../src/common/limits.ts";
import { type BundleLimits, unpackBundle } from "../../../src/registry/bundle.ts";
import {
  bundleOf,
  HANDLER,
  paxEntry,
  type RawEntry,
  rawEntry,
  tarOf,
  TempDir,
} from "./archives.ts";

interface Outcome {
  readonly error: OlError | null;
  readonly files: string[];
}

async function unpack(temp: TempDir, bytes: Uint8Array, limits?: BundleLimits): Promise<Outcome> {
  const bundle = join(temp.path, "b.tar.gz");
  const dest = join(temp.path, "in", "dest");
  mkdirSync(dest, { recursive: true });
  writeFileSync(bundle, bytes);
  let error: OlError | null = null;
  try {
    await unpackBundle(bundle, dest, limits);
  } catch (thrown) {
    if (!(thrown instanceof OlError)) throw thrown;
    error = thrown;
  }
  // Whatever came of it: nothing beside the destination, above it, or half-made.
  expect(readdirSync(temp.path).toSorted()).toEqual(["b.tar.gz", "in"]);
  expect(readdirSync(join(temp.path, "in"))).toEqual(["dest"]);
  const files = readdirSync(dest, { recursive: true, encoding: "utf8" }).toSorted();
  if (error !== null) expect(files).toEqual([]);
  return { error, files };
}

const hostile: [string, (RawEntry | Uint8Array)[], RegExp][] = [
  ["a path that leaves with ..", [HANDLER, { path: "../evil", body: "x" }], /"\.\."/],
  ["a path that leaves in its middle", [HANDLER, { path: "a/../../evil", body: "x" }], /"\.\."/],
  ["a directory that leaves", [HANDLER, { path: "../evil/", type: "5" }], /"\.\."/],
  ["an absolute path", [HANDLER, { path: "/etc/cron.d/evil", body: "x" }], /absolute/],
  [
    "a pax path that leaves behind an honest header",
    [HANDLER, paxEntry({ path: "../../evil" }), { path: "ok", body: "x" }],
    /"\.\."/,
  ],
  [
    "a symbolic link out",
    [HANDLER, { path: "l", type: "2", linkpath: "/etc/shadow" }],
    /SymbolicLink/,
  ],
  [
    "a symbolic link inside",
    [HANDLER, { path: "l", type: "2", linkpath: "lambda_func.py" }],
    /SymbolicLink/,
  ],
  [
    "a write through a symbolic link",
    [HANDLER, { path: "l", type: "2", linkpath: "/tmp" }, { path: "l/evil", body: "x" }],
    /SymbolicLink/,
  ],
  ["a hard link out", [HANDLER, { path: "l", type: "1", linkpath: "/etc/shadow" }], /is a Link/],
  ["a character device", [HANDLER, { path: "dev", type: "3" }], /CharacterDevice/],
  ["a block device", [HANDLER, { path: "dev", type: "4" }], /BlockDevice/],
  ["a FIFO", [HANDLER, { path: "fifo", type: "6" }], /FIFO/],
  ["an entry of an unknown kind", [HANDLER, { path: "odd", type: "V", body: "x" }], /bundle/],
  ["one name twice", [HANDLER, HANDLER], /twice/],
  ["one name twice, spelled differently", [HANDLER, { path: ".//lambda_func.py" }], /twice/],
  ["a file over a directory", [HANDLER, { path: "a/b", body: "x" }, { path: "a" }], /twice/],
  ["a directory over a file", [HANDLER, { path: "a" }, { path: "a/b", body: "x" }], /twice/],
  [
    "a name that is not UTF-8",
    [HANDLER, { path: new Uint8Array([0x61, 0xff, 0xfe]), body: "x" }],
    /UTF-8/,
  ],
  ["a name with a control character", [HANDLER, { path: "a\nb", body: "x" }], /control/],
  ["a name with a backslash", [HANDLER, { path: "..\\evil", body: "x" }], /backslash/],
  [
    "a name over 255 bytes",
    [HANDLER, paxEntry({ path: "n".repeat(300) }), { path: "n", body: "x" }],
    /over 255 bytes/,
  ],
  [
    "a path over 1024 bytes",
    [HANDLER, paxEntry({ path: "dir/".repeat(300) + "f" }), { path: "n", body: "x" }],
    /over 1024 bytes/,
  ],
  [
    "too many levels",
    [HANDLER, paxEntry({ path: "d/".repeat(40) + "f" }), { path: "n", body: "x" }],
    /levels/,
  ],
  ["a wrong checksum", [HANDLER, { path: "a", badChecksum: true }], /not a whole tar/],
  ["no handler", [{ path: "readme", body: "x" }], /no lambda_func\.py/],
  ["a handler that is a directory", [{ path: "lambda_func.py/", type: "5" }], /no lambda_func\.py/],
  ["nothing at all", [], /bundle/],
];

describe("unpackBundle()", () => {
  test("writes files and directories with plain modes", async () => {
    using temp = new TempDir();
    const { error, files } = await unpack(
      temp,
      bundleOf(
        { path: "./", type: "5", mode: 0o700 },
        { ...HANDLER, path: "./lambda_func.py", mode: 0o600 },
        { path: "bin/tool", body: "#!/bin/sh\n", mode: 0o6777 },
        { path: "pkg/", type: "5", mode: 0o2777 },
        { path: "pkg/é.py", body: "" },
      ),
    );
    expect(error).toBeNull();
    expect(files).toEqual(["bin", "bin/tool", "lambda_func.py", "pkg", "pkg/é.py"]);
    const dest = join(temp.path, "in", "dest");
    const modes = ["", "bin", "bin/tool", "lambda_func.py", "pkg"].map(
      (file) => lstatSync(join(dest, file)).mode & 0o7777,
    );
    expect(modes).toEqual([0o755, 0o755, 0o755, 0o644, 0o755]);
    expect(readFileSync(join(dest, "lambda_func.py"), "utf8")).toBe(HANDLER.body as string);
  });

  test.each(hostile)("refuses %s and leaves nothing behind", async (_what, parts, why) => {
    using temp = new TempDir();
    const { error } = await unpack(temp, bundleOf(...parts));
    expect(error?.code).toBe("bundle_invalid");
    expect(error?.message).toMatch(why);
    expect(existsSync(join(temp.path, "evil"))).toBe(false);
  });

  test("names the nested handler when the directory was packed instead of its files", async () => {
    using temp = new TempDir();
    const { error } = await unpack(temp, bundleOf({ ...HANDLER, path: "hello/lambda_func.py" }));
    expect(error?.message).toContain('found "hello/lambda_func.py"');
  });

  test("refuses what is not gzip, is empty, truncated, corrupted or compressed twice", async () => {
    const random = crypto.getRandomValues(new Uint8Array(5000));
    const whole = bundleOf(HANDLER, { path: "data", body: random });
    const corrupted = Uint8Array.from(whole);
    corrupted[whole.length - 6]! ^= 0xff;
    const cases = {
      empty: new Uint8Array(),
      plainTar: tarOf(HANDLER),
      text: Buffer.from("hello"),
      truncated: whole.subarray(0, whole.length - 200),
      headOnly: whole.subarray(0, 12),
      corrupted,
      twice: gzipSync(whole),
      cutTar: gzipSync(tarOf(HANDLER, { path: "data", body: random }).subarray(0, 3000)),
      sizeLies: gzipSync(rawEntry({ ...HANDLER, size: 1_000_000 })),
      trailing: gzipSync(Buffer.concat([tarOf(HANDLER), new Uint8Array(3 * 1024 * 1024)])),
    };
    for (const [what, bytes] of Object.entries(cases)) {
      using temp = new TempDir();
      const { error } = await unpack(temp, bytes);
      expect([what, error?.code]).toEqual([what, "bundle_invalid"]);
    }
  });

  test("stops a bomb of zeros long before its end", async () => {
    using temp = new TempDir();
    const gzip = createGzip({ level: 9 });
    const packed: Buffer[] = [];
    gzip.on("data", (chunk: Buffer) => packed.push(chunk));
    gzip.write(rawEntry(HANDLER));
    // The header announces 8 GiB less one byte, the most that its octal field can say.
    gzip.write(rawEntry({ path: "zeros", size: 0o77777777777 }));
    const zeros = Buffer.alloc(1024 * 1024);
    for (let mib = 0; mib < 64; mib++) gzip.write(zeros);
    await new Promise((resolve) => gzip.end(() => resolve(null)));
    const { error } = await unpack(temp, Buffer.concat(packed));
    expect(error?.message).toMatch(/more than/);
  }, 60_000);

  test("stops inflation by its ratio where sizes in headers look harmless", async () => {
    using temp = new TempDir();
    const files = Array.from({ length: 40 }, (_, index) => ({
      path: `f${index}`,
      body: new Uint8Array(1024 * 1024),
    }));
    const { error } = await unpack(temp, bundleOf(HANDLER, ...files));
    expect(error?.message).toMatch(/200 times/);
  }, 60_000);

  test("stops at the limit of unpacked bytes, packed bytes and entries", async () => {
    const limits = { packedMaxBytes: 4096, unpackedMaxBytes: 2000, entriesMax: 5 };
    const body = crypto.getRandomValues(new Uint8Array(1990));
    const many = Array.from({ length: 5 }, (_, index) => ({ path: `f${index}` }));
    const tooPacked = crypto.getRandomValues(new Uint8Array(5000));
    const cases: [Uint8Array, RegExp | null][] = [
      [bundleOf(HANDLER, { path: "f", body: body.subarray(0, 1900) }), null],
      [bundleOf(HANDLER, { path: "f", body }), /more than 2000 bytes/],
      [bundleOf(HANDLER, ...many.slice(1)), null],
      [bundleOf(HANDLER, ...many), /more than 5 entries/],
      [bundleOf(HANDLER, { path: "a/b/c/d/e/f/g" }), /more than 5 entries/],
      [bundleOf(HANDLER, ...many.map(() => paxEntry({ comment: "x" }))), /more than 5 entries/],
      [bundleOf(HANDLER, { path: "f", body: tooPacked }), /at most 4096/],
    ];
    for (const [bytes, why] of cases) {
      using temp = new TempDir();
      const { error } = await unpack(temp, bytes, limits);
      if (why === null) expect(error).toBeNull();
      else expect(error?.message).toMatch(why);
    }
  });

  test("stops a flood of entries at the limit", async () => {
    using temp = new TempDir();
    // Random names keep the ratio honest, so that the count is what ends it.
    const flood = Array.from({ length: 30_000 }, () =>
      rawEntry({ path: `${crypto.randomUUID()}/`, type: "5" }),
    );
    const { error } = await unpack(temp, bundleOf(HANDLER, ...flood), {
      packedMaxBytes: BUNDLE_MAX_BYTES,
      unpackedMaxBytes: CODE_MAX_BYTES,
      entriesMax: 500,
    });
    expect(error?.message).toMatch(/more than 500 entries/);
  }, 60_000);

  test("does not touch a destination that holds something", async () => {
    using temp = new TempDir();
    const bundle = join(temp.path, "b.tar.gz");
    const dest = join(temp.path, "dest");
    mkdirSync(dest);
    writeFileSync(join(dest, "kept"), "1");
    writeFileSync(bundle, bundleOf(HANDLER));
    const error = await unpackBundle(bundle, dest).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Error);
    expect(readdirSync(dest)).toEqual(["kept"]);
  });

  test("never escapes, crashes or leaves anything for any mutation of an archive", async () => {
    const seedTar = Buffer.from(
      tarOf(
        HANDLER,
        paxEntry({ path: "long/name" }),
        { path: "x", body: "y" },
        { path: "d/", type: "5" },
      ),
    );
    const mutation = fc.record({
      at: fc.nat(seedTar.length - 1),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 24 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { maxLength: 6 }), fc.boolean(), async (edits, fix) => {
        using temp = new TempDir();
        const tar = Buffer.from(seedTar);
        for (const edit of edits) tar.set(edit.bytes.subarray(0, tar.length - edit.at), edit.at);
        if (fix) fixChecksums(tar);
        const { error, files } = await unpack(temp, gzipSync(tar));
        if (error === null) expect(files).toContain("lambda_func.py");
        for (const file of files) {
          const stat = statSync(join(temp.path, "in", "dest", file));
          expect(stat.isFile() || stat.isDirectory()).toBe(true);
          expect(stat.mode & 0o7022).toBe(0);
        }
      }),
      { numRuns: 300 },
    );
  }, 60_000);

  test("refuses any bytes that are no bundle", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), fc.boolean(), async (bytes, zip) => {
        using temp = new TempDir();
        const { error } = await unpack(temp, zip ? gzipSync(bytes) : bytes);
        expect(error?.code).toBe("bundle_invalid");
      }),
      { numRuns: 150 },
    );
  }, 60_000);
});

/** Makes mutated headers pass the checksum, so that what lies behind it is reached. */
function fixChecksums(tar: Buffer): void {
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    if (tar.toString("latin1", at + 257, at + 262) !== "ustar") continue;
    tar.write("        ", at + 148);
    let sum = 0;
    for (const byte of tar.subarray(at, at + 512)) sum += byte;
    tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148);
  }
}

/** `ol upload` and `ol logs` where things go wrong or take long; no worker and no root needed. */

import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { randomFillSync } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { freePorts, OL, ol, olDone } from "../helpers/ol.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { scaled, waitFor } from "../helpers/wait-for.ts";

setDefaultTimeout(scaled(60_000));

let temp: TempDir;
let cluster = "";

beforeEach(async () => {
  temp = tempDir("ol-upload-");
  cluster = temp.join("cluster");
  await olDone(["new", `--cluster=${cluster}`]);
});
afterEach(async () => {
  await ol(["kill", `--cluster=${cluster}`]);
  temp.remove();
});

function write(path: string, text: string | Uint8Array): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

const code = (value: unknown): string =>
  `def handler(event):\n    return ${JSON.stringify(value)}\n`;
const inRegistry = (): string[] => readdirSync(join(cluster, "registry")).toSorted();

describe("upload --watch", () => {
  let child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  let said = "";
  let reading: Promise<void>[];

  function watchDirectory(dir: string): void {
    child = Bun.spawn([OL, "upload", `--cluster=${cluster}`, `--watch=${dir}`, "--json"], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    said = "";
    reading = [child.stdout, child.stderr].map(async (stream) => {
      for await (const piece of stream) said += new TextDecoder().decode(piece);
    });
  }
  const uploads = (): number => said.match(/"lambda":"code"/g)?.length ?? 0;

  afterEach(async () => {
    child.kill("SIGKILL");
    await child.exited;
    await Promise.all(reading);
  });

  test("waits out a directory that no lambda can be, and goes on", async () => {
    const dir = temp.join("code");
    write(join(dir, "lambda_func.py"), code(1));
    watchDirectory(dir);
    await waitFor(() => uploads() === 1, "the first version is there");
    const deep = "d/".repeat(40);
    write(join(dir, deep, "x"), "x");
    await waitFor(() => said.includes("levels"), "it says what is wrong");
    expect(said).not.toContain("    at ");
    rmSync(join(dir, "d"), { recursive: true });
    write(join(dir, "lambda_func.py"), code(2));
    await waitFor(() => uploads() === 2, "the next version is there");
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
  });

  test("tries again by itself when the registry is back", async () => {
    const port = await freePorts(1);
    await olDone(["registry", `--cluster=${cluster}`, `--port=${port}`]);
    await olDone(["kill", `--cluster=${cluster}`]);
    const dir = temp.join("code");
    write(join(dir, "lambda_func.py"), code(1));
    watchDirectory(dir);
    await waitFor(() => said.includes("does not answer"), "it says that the registry is away");
    await olDone(["registry", `--cluster=${cluster}`]);
    await waitFor(() => uploads() === 1, "it has been uploaded without a change");
  });

  test("ends with an error when its directory is gone", async () => {
    const dir = temp.join("code");
    write(join(dir, "lambda_func.py"), code(1));
    watchDirectory(dir);
    await waitFor(() => uploads() === 1, "the first version is there");
    rmSync(dir, { recursive: true });
    expect(await child.exited).toBe(2);
    await Promise.all(reading);
    expect(said).toContain(`Cannot go on watching ${dir}`);
  });
});

describe("upload to a local registry", () => {
  test("keeps a directory that was written by hand, and says where", async () => {
    const source = temp.join("source");
    write(join(source, "lambda_func.py"), code("new"));
    write(join(cluster, "registry/hello/lambda_func.py"), code("by hand"));
    const args = ["upload", `--cluster=${cluster}`, `--file=${source}`, "--handler=hello"];
    const first = await ol(args);
    expect(first.exitCode).toBe(0);
    const [kept, bundle, ...more] = inRegistry().toReversed();
    expect([bundle, more]).toEqual(["hello.tar.gz", []]);
    expect(kept).toStartWith("hello~replaced-");
    expect(first.stderr).toContain(join(cluster, "registry", kept ?? ""));
    const text = readFileSync(join(cluster, "registry", kept ?? "", "lambda_func.py"), "utf8");
    expect(text).toBe(code("by hand"));
    // From then on there is nothing of the user's to keep.
    const second = await ol(args);
    expect([second.exitCode, second.stderr]).toEqual([0, ""]);
    expect(inRegistry().length).toBe(2);
    const listed = await olDone(["lambdas", `--cluster=${cluster}`, "--json"]);
    expect((JSON.parse(listed) as { lambdas: object[] }).lambdas).toMatchObject([
      { name: "hello" },
    ]);
  });

  test("takes a link away, without a word and not what it points to", async () => {
    const source = temp.join("source");
    write(join(source, "lambda_func.py"), code("new"));
    symlinkSync(source, join(cluster, "registry/hello"));
    const args = ["upload", `--cluster=${cluster}`, `--file=${source}`, "--handler=hello"];
    expect(await ol(args)).toMatchObject({ exitCode: 0, stderr: "" });
    expect(inRegistry()).toEqual(["hello.tar.gz"]);
    expect(readdirSync(source)).toEqual(["lambda_func.py"]);
  });
});

test("a large upload shows at a terminal how far it is, and nowhere else", async () => {
  const port = await freePorts(1);
  await olDone(["registry", `--cluster=${cluster}`, `--port=${port}`]);
  const source = temp.join("source");
  write(join(source, "lambda_func.py"), code(1));
  write(join(source, "data"), randomFillSync(Buffer.alloc(20 * 1024 * 1024)));
  const args = ["upload", `--cluster=${cluster}`, `--file=${source}`, "--handler=big"];
  expect((await ol(args)).stderr).toBe("");
  let shown = "";
  const child = Bun.spawn([OL, ...args], {
    terminal: {
      cols: 80,
      rows: 24,
      data: (_terminal: unknown, data: Uint8Array) => {
        shown += new TextDecoder().decode(data);
      },
    },
  });
  expect(await child.exited).toBe(0);
  await waitFor(() => shown.includes("Call it with"), "the terminal has all of it");
  expect(shown).toMatch(/Uploading \d+ %\rUploading \d+ %/);
  expect(shown).toContain("Uploading 100 %");
});

describe("logs", () => {
  const logs = (name: string) => ol(["logs", `--cluster=${cluster}`, name]);

  test("know a lambda of a remote registry, and one that it does not hold", async () => {
    const port = await freePorts(1);
    await olDone(["registry", `--cluster=${cluster}`, `--port=${port}`]);
    const source = temp.join("hello");
    write(join(source, "lambda_func.py"), code(1));
    await olDone(["upload", `--cluster=${cluster}`, `--file=${source}`]);
    expect(await logs("hello")).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining("has not printed anything"),
    });
    const unknown = await logs("helo");
    expect([unknown.exitCode, unknown.stderr]).toEqual([
      1,
      expect.stringContaining("does not hold it"),
    ]);
    await olDone(["kill", `--cluster=${cluster}`]);
    // Whether there is such a lambda nobody knows then; that nothing was printed is known.
    const away = await logs("hello");
    expect([away.exitCode, away.stderr]).toEqual([1, expect.stringContaining("does not answer")]);
  });

  test("know a lambda of a local registry", async () => {
    write(join(cluster, "registry/hand/lambda_func.py"), code(1));
    expect((await logs("hand")).exitCode).toBe(0);
    expect((await logs("other")).exitCode).toBe(1);
  });
});

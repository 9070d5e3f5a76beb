/** What goes wrong once must not go wrong for ever: stale resolutions, torn directories, hostile results. */

import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { OlError } from "../../../src/common/errors.ts";
import { canInstall, Workbench, type Wheel } from "./fixture.ts";
import { scaled } from "../../helpers/wait-for.ts";

// pip alone takes seconds on a busy machine.
setDefaultTimeout(scaled(120_000));

const LIB: Wheel = { name: "lib-a", version: "1.0", files: { "liba/__init__.py": "V = 1\n" } };
const NEWER: Wheel = { name: "lib-a", version: "2.0", files: { "liba/__init__.py": "V = 2\n" } };
const VICTIM_UID = 4321;

describe.skipIf(!canInstall)("the install cache", () => {
  let bench: Workbench;
  let env: NodeJS.ProcessEnv;
  let links = "";
  beforeEach(() => {
    bench = new Workbench();
    env = bench.offline([LIB]);
    links = env["PIP_FIND_LINKS"] ?? "";
  });
  afterEach(() => {
    bench.close();
  });
  const code = (packages: string) => bench.code({ "packages.txt": packages });
  const installed = () => readdirSync(bench.packagesDir).filter((name) => !name.startsWith("."));
  const staged = () => readdirSync(join(bench.packagesDir, ".staging"));
  const message = (promise: Promise<unknown>) =>
    promise.then(
      () => expect.unreachable("it was installed"),
      (error: unknown) => {
        expect((error as OlError).code).toBe("package_install");
        return (error as OlError).message;
      },
    );

  test("resolves again what was resolved before and is no longer on the index", async () => {
    await (await bench.open({ env })).ensure(code("lib-a"), "v1");
    for (const name of readdirSync(links)) rmSync(join(links, name));
    for (const name of installed()) rmSync(join(bench.packagesDir, name), { recursive: true });
    bench.build([NEWER], links);
    const installer = await bench.open({ env });
    const found = await installer.ensure(code("lib-a"), "v1");
    expect(await bench.python(found, "import liba; print(liba.V)")).toBe("2");
    // The new answer is kept: the next worker does not fail first.
    const ran = bench.runner.specs.length;
    await (await bench.open({ env })).ensure(code("lib-a"), "v1");
    expect(bench.runner.modes.slice(ran)).toEqual(["probe"]);
  });

  test("resolves again after an artifact was uploaded anew under the same version", async () => {
    await (await bench.open({ env })).ensure(code("lib-a"), "v1");
    for (const name of installed()) rmSync(join(bench.packagesDir, name), { recursive: true });
    bench.build([{ ...LIB, files: { "liba/__init__.py": "V = 'anew'\n" } }], links);
    const found = await (await bench.open({ env })).ensure(code("lib-a"), "v1");
    expect(await bench.python(found, "import liba; print(liba.V)")).toBe("anew");
  });

  test("keeps a resolution that fails while the index is away, and tells the first failure", async () => {
    await (await bench.open({ env })).ensure(code("lib-a"), "v1");
    for (const name of installed()) rmSync(join(bench.packagesDir, name), { recursive: true });
    const wheels = readdirSync(links);
    for (const name of wheels) renameSync(join(links, name), join(bench.root, name));
    const installer = await bench.open({ env });
    expect(await message(installer.ensure(code("lib-a"), "v1"))).toContain("lib-a");
    for (const name of wheels) renameSync(join(bench.root, name), join(links, name));
    bench.build([NEWER], links);
    const found = await installer.ensure(code("lib-a"), "v2");
    expect(found.dirs[0]?.dir).toStartWith("lib-a-1.0-");
  });

  test.each([
    ["without its record", (dir: string) => rmSync(join(dir, ".package.json"))],
    ["with half a record", (dir: string) => writeFileSync(join(dir, ".package.json"), '{"na')],
    ["with a record of nothing", (dir: string) => writeFileSync(join(dir, ".package.json"), "{}")],
  ])("replaces a package directory %s", async (_, tear) => {
    const before = await (await bench.open({ env })).ensure(code("lib-a"), "v1");
    const dir = join(bench.packagesDir, before.dirs[0]!.dir);
    rmSync(join(dir, "liba"), { recursive: true });
    tear(dir);
    const found = await (await bench.open({ env })).ensure(code("lib-a"), "v1");
    expect(found).toEqual(before);
    expect(await bench.python(found, "import liba; print(liba.V)")).toBe("1");
    expect(staged()).toEqual([]);
  });

  test("replaces a resolution that is no JSON or not one", async () => {
    await (await bench.open({ env })).ensure(code("lib-a"), "v1");
    const dir = join(bench.packagesDir, ".resolved");
    for (const text of ['[{"na', '[{"name":"x"}]', "null", ""]) {
      writeFileSync(join(dir, readdirSync(dir)[0]!), text);
      const found = await (await bench.open({ env })).ensure(code("lib-a"), "v1");
      expect(found.dirs).toHaveLength(1);
    }
    expect(readdirSync(dir)).toHaveLength(1);
  });

  test("resolves again when a constraint file changed", async () => {
    bench.build([NEWER], links);
    const constraint = join(bench.root, "constraints.txt");
    const given = { ...env, PIP_CONSTRAINT: constraint };
    writeFileSync(constraint, "lib-a<2\n");
    const old = await (await bench.open({ env: given })).ensure(code("lib-a"), "v1");
    writeFileSync(constraint, "lib-a<3\n");
    const found = await (await bench.open({ env: given })).ensure(code("lib-a"), "v1");
    expect([old, found].map(({ dirs }) => dirs[0]!.dir.slice(0, 9))).toEqual([
      "lib-a-1.0",
      "lib-a-2.0",
    ]);
  });

  describe("a result that is not where it seems to be", () => {
    let victim = "";
    beforeEach(() => {
      victim = join(bench.root, "victim");
      mkdirSync(join(victim, "0/liba"), { recursive: true });
      writeFileSync(join(victim, "0/liba/__init__.py"), "secret");
      execFileSync("chown", ["-R", `${VICTIM_UID}:${VICTIM_UID}`, victim]);
      execFileSync("chmod", ["-R", "u=rwX,go=", victim]);
    });
    const listing = () =>
      execFileSync("find", [victim, "-printf", "%P %U %G %m %T@ %C@\n"]).toString();

    test.each([
      ["out", (work: string) => join(work, "out"), () => victim],
      ["its own part of out", (work: string) => join(work, "out/0"), () => join(victim, "0")],
      [
        "a directory below",
        (work: string) => join(work, "out/0/liba"),
        () => join(victim, "0/liba"),
      ],
    ])("is refused where %s is a link into the host, which stays as it is", async (_, at, to) => {
      const installer = await bench.open({ env });
      const before = listing();
      bench.runner.after = (work, mode) => {
        if (mode !== "wheels") return;
        renameSync(at(work), join(work, "away"));
        symlinkSync(to(), at(work));
      };
      expect(await message(installer.ensure(code("lib-a"), "v1"))).toContain("only plain files");
      expect(listing()).toBe(before);
      expect(installed()).toEqual([]);
      expect(staged()).toEqual([]);
    });

    test("is refused where it is another user's directory or file", async () => {
      const installer = await bench.open({ env });
      for (const [index, name] of ["out", "out/0", "out/0/liba/__init__.py"].entries()) {
        bench.runner.after = (work, mode) => {
          if (mode === "wheels") chownSync(join(work, name), VICTIM_UID, VICTIM_UID);
        };
        const failed = installer.ensure(code("lib-a"), `v${index}`);
        expect(await message(failed)).toContain("not the installer's own");
      }
      expect(installed()).toEqual([]);
    });

    test("is refused where there is none", async () => {
      const installer = await bench.open({ env });
      bench.runner.after = (work, mode) => {
        if (mode === "wheels") rmSync(join(work, "out"), { recursive: true });
      };
      expect(await message(installer.ensure(code("lib-a"), "v1"))).toContain('"out"');
      expect(installed()).toEqual([]);
    });
  });

  test("removes a work directory that is nested deeper than any path can name", async () => {
    const installer = await bench.open({ env });
    const nest = `
import os
for _ in range(1000):
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
`;
    bench.runner.after = (work, mode) => {
      if (mode === "wheels") execFileSync("/usr/bin/python3", ["-c", nest], { cwd: work });
    };
    await installer.ensure(code("lib-a"), "v1");
    expect(staged()).toEqual([]);
  });

  test("reads no report beyond its bound", async () => {
    const installer = await bench.open({ env });
    bench.runner.after = (work, mode) => {
      if (mode !== "resolve") return;
      writeFileSync(join(work, "report.json"), `[${"{},".repeat(2_000_000)}{}]`);
      chmodSync(join(work, "report.json"), 0o644);
    };
    expect(await message(installer.ensure(code("lib-a"), "v1"))).toContain("no report");
    expect(lstatSync(bench.packagesDir).isDirectory()).toBe(true);
  });
});

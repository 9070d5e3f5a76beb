/** The install cache with pip itself, on an index of wheels made for the purpose. */

import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { OlError } from "../../../src/common/errors.ts";
import { canInstall, Workbench, type Wheel } from "./fixture.ts";
import { scaled } from "../../helpers/wait-for.ts";

// pip alone takes seconds on a busy machine.
setDefaultTimeout(scaled(120_000));

const WHEELS: readonly Wheel[] = [
  { name: "lib-a", version: "1.0", files: { "liba/__init__.py": "V = 1\n" } },
  { name: "lib-a", version: "2.0", files: { "liba/__init__.py": "V = 2\n" } },
  {
    name: "app",
    version: "1.0",
    files: { "app.py": "import liba\nV = liba.V\n" },
    requires: ["lib-a"],
  },
  { name: "ns-one", version: "1.0", files: { "ns/one/__init__.py": "" } },
  { name: "ns-two", version: "1.0", files: { "ns/two.py": "" } },
  ...["x", "y"].map((part) => ({
    name: `old-${part}`,
    version: "1.0",
    files: {
      "old/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
      [`old/${part}.py`]: "",
    },
  })),
  {
    name: "evil",
    version: "1.0",
    files: { "evil.py": "", "evil.pth": "import os; os._exit(9)\n" },
  },
];

describe.skipIf(!canInstall)("PipInstaller", () => {
  let bench: Workbench;
  let env: NodeJS.ProcessEnv;
  beforeEach(() => {
    bench = new Workbench();
    env = bench.offline(WHEELS);
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

  test("installs what is declared and what that needs, importable and shared", async () => {
    const installer = await bench.open({ env });
    const found = await installer.ensure(code("app # the app\n"), "v1");
    expect(found.imports).toEqual(["app"]);
    expect(found.dirs.map(({ modules }) => modules)).toEqual([["app"], ["liba"]]);
    expect(
      found.units.map(({ module, declared, dirs }) => [module, declared, dirs.length]),
    ).toEqual([
      ["app", true, 2],
      ["liba", false, 1],
    ]);
    expect(await bench.python(found, "import app; print(app.V)")).toBe("2");
    expect(staged()).toEqual([]);
  });

  test("runs no command for a lambda without packages", async () => {
    const installer = await bench.open({ env });
    const found = await installer.ensure(code("# nothing\n"), "v1");
    expect(found).toEqual({ dirs: [], imports: [], units: [] });
    expect(await installer.ensure(bench.code({}), "v2")).toBe(found);
    expect(bench.runner.modes).toEqual([]);
  });

  test("resolves and installs once, however many ask", async () => {
    const installer = await bench.open({ env });
    const calls = ["v1", "v1", "v2", "v3"].map((id) => installer.ensure(code("app"), id));
    calls.push(installer.ensure(code("lib-a"), "v4"));
    await Promise.all(calls);
    expect(bench.runner.modes.filter((mode) => mode === "probe")).toHaveLength(1);
    expect(bench.runner.modes.filter((mode) => mode === "resolve")).toHaveLength(2);
    expect(installed()).toHaveLength(2);
    const ran = bench.runner.specs.length;
    await installer.ensure(code("app"), "v9");
    expect(bench.runner.specs).toHaveLength(ran);
  });

  test("finds everything again after a restart", async () => {
    const first = await (await bench.open({ env })).ensure(code("app"), "v1");
    const ran = bench.runner.specs.length;
    const again = await (await bench.open({ env })).ensure(code("app"), "v1");
    expect(again).toEqual(first);
    expect(bench.runner.modes.slice(ran)).toEqual(["probe"]);
  });

  test("keeps two versions side by side", async () => {
    const installer = await bench.open({ env });
    const old = await installer.ensure(code("app\nlib-a==1.0"), "v1");
    const latest = await installer.ensure(code("app"), "v2");
    expect(await bench.python(old, "import app; print(app.V)")).toBe("1");
    expect(await bench.python(latest, "import app; print(app.V)")).toBe("2");
    expect(installed()).toHaveLength(3);
    expect(old.units[0]?.dirs[0]).toBe(latest.units[0]?.dirs[0] ?? "");
    expect(old.units[0]?.dirs).not.toEqual(latest.units[0]?.dirs ?? []);
  });

  test("lets two workers install the same at once", async () => {
    const [one, two] = await Promise.all([bench.open({ env }), bench.open({ env })]);
    const found = await Promise.all([one.ensure(code("app"), "v1"), two.ensure(code("app"), "v1")]);
    expect(found[0]).toEqual(found[1]);
    expect(installed()).toHaveLength(2);
    expect(staged()).toEqual([]);
  });

  test("merges packages.txt and requirements.txt, and names an import", async () => {
    const installer = await bench.open({ env });
    const dir = bench.code({ "packages.txt": "liba:lib-a==1.0\n", "requirements.txt": "ns-one\n" });
    expect((await installer.ensure(dir, "v1")).imports.toSorted()).toEqual(["liba", "ns.one"]);
  });

  test("keeps namespace packages of both styles together, and executes no .pth file", async () => {
    const installer = await bench.open({ env });
    const found = await installer.ensure(code("ns-one\nns-two\nold-x\nold-y\nevil"), "v1");
    expect(found.imports.toSorted()).toEqual(["evil", "ns.one", "ns.two", "old.x", "old.y"]);
    expect(await bench.python(found, "import ns.one, ns.two, old.x, old.y, evil; print(1)")).toBe(
      "1",
    );
  });

  test("leaves directories that only root can change, and only root can list", async () => {
    const installer = await bench.open({ env });
    bench.runner.after = (work, mode) => {
      if (mode !== "wheels") return;
      chmodSync(join(work, "out/0/liba/__init__.py"), 0o4777);
      execFileSync("chown", ["-R", "12345:12345", work]);
      execFileSync("chmod", ["-R", "a+w", join(work, "out/0/liba")]);
    };
    const found = await installer.ensure(code("lib-a"), "v1");
    const dir = join(bench.packagesDir, found.dirs[0]!.dir);
    const all = execFileSync("find", [dir, "-perm", "/6022", "-o", "-not", "-uid", "0"]).toString();
    expect(all).toBe("");
    expect(lstatSync(bench.packagesDir).mode & 0o777).toBe(0o711);
    expect(lstatSync(join(bench.packagesDir, ".staging")).mode & 0o777).toBe(0o700);
  });

  test.each([
    ["a symbolic link", (dir: string) => symlinkSync("/etc/shadow", join(dir, "x"))],
    ["a linked directory", (dir: string) => symlinkSync("/etc", join(dir, "liba/sub"))],
    ["a hard link", (dir: string) => linkSync(join(dir, "liba/__init__.py"), join(dir, "y"))],
    ["a pipe", (dir: string) => execFileSync("/usr/bin/mkfifo", [join(dir, "z")])],
    ["a device", (dir: string) => execFileSync("mknod", [join(dir, "n"), "c", "1", "3"])],
  ])("refuses %s that was left for it, and keeps nothing", async (_, plant) => {
    const installer = await bench.open({ env });
    bench.runner.after = (work, mode) => {
      if (mode === "wheels") plant(join(work, "out/0"));
    };
    expect(await message(installer.ensure(code("lib-a"), "v1"))).toContain("only plain files");
    expect(installed()).toEqual([]);
    expect(staged()).toEqual([]);
    expect(lstatSync("/etc/shadow").mode & 0o777).not.toBe(0o644);
  });

  test("refuses a report that is a link out of the sandbox", async () => {
    const installer = await bench.open({ env });
    bench.runner.after = (work, mode) => {
      if (mode !== "resolve") return;
      execFileSync("rm", [join(work, "report.json")]);
      symlinkSync("/etc/hostname", join(work, "report.json"));
    };
    expect(await message(installer.ensure(code("lib-a"), "v1"))).toContain("no report");
  });

  test("refuses an artifact whose hash is not the one that was resolved", async () => {
    const installer = await bench.open({ env });
    bench.runner.after = async (work, mode) => {
      if (mode !== "resolve") return;
      const text = await Bun.file(join(work, "report.json")).text();
      await Bun.write(join(work, "report.json"), text.replaceAll(/[0-9a-f]{64}/g, "0".repeat(64)));
    };
    expect(await message(installer.ensure(code("lib-a"), "v1"))).toContain("DO NOT MATCH");
    expect(installed()).toEqual([]);
  });

  test("passes pip's words on, and pauses before it tries again", async () => {
    const clock = { us: 0, nowUs: () => clock.us, wallMs: () => 0 };
    const installer = await bench.open({ env, clock });
    const dir = code("lib-a==9\n");
    expect(await message(installer.ensure(dir, "v1"))).toContain(
      "No matching distribution found for lib-a==9",
    );
    const ran = bench.runner.specs.length;
    await message(installer.ensure(dir, "v1"));
    expect(bench.runner.specs).toHaveLength(ran);
    clock.us += 1_000_000;
    await message(installer.ensure(dir, "v1"));
    expect(bench.runner.specs).toHaveLength(ran + 1);
    await installer.ensure(code("lib-a"), "v2");
    expect(installer.stats()).toMatchObject({ failures: 2 });
  });

  test("reports a conflict in pip's words", async () => {
    const installer = await bench.open({ env });
    expect(await message(installer.ensure(code("lib-a==1.0\nlib-a==2.0"), "v1"))).toContain(
      "conflict",
    );
  });

  test("a failure of one call does not fail another that waited for the same package", async () => {
    const installer = await bench.open({ env });
    let failed = false;
    bench.runner.before = (spec) => {
      if (failed || !spec.files["requirements.txt"]?.includes("app==")) return;
      failed = true;
      throw new OlError("package_install", "Cannot run it");
    };
    const both = await Promise.allSettled([
      installer.ensure(code("app"), "v1"),
      installer.ensure(code("lib-a"), "v2"),
    ]);
    expect(both.filter(({ status }) => status === "rejected").length).toBeLessThanOrEqual(1);
    await installer.ensure(code("lib-a"), "v3");
  });

  test("removes what a crashed worker left, but not what another is doing", async () => {
    await bench.open({ env });
    const crashed = join(bench.packagesDir, ".staging/4194000-1-1");
    const busy = execFileSync("cut", ["-d", " ", "-f", "22", "/proc/1/stat"]).toString().trim();
    const alive = join(bench.packagesDir, `.staging/2-${busy}-1`);
    mkdirSync(crashed);
    writeFileSync(join(crashed, "half"), "");
    const start = Bun.file(`/proc/${process.ppid}/stat`);
    const fields = (await start.text()).split(") ")[1]!.split(" ");
    const other = join(bench.packagesDir, `.staging/${process.ppid}-${fields[19]}-1`);
    mkdirSync(other);
    await bench.open({ env });
    expect(existsSync(crashed)).toBe(false);
    expect(existsSync(other)).toBe(true);
    expect(existsSync(alive)).toBe(false);
  });

  test("refuses a packages.txt that is a link or too large", async () => {
    const installer = await bench.open({ env });
    const dir = bench.code({});
    symlinkSync("/etc/hostname", join(dir, "packages.txt"));
    expect(await message(installer.ensure(dir, "v1"))).toContain("plain file");
    expect(await message(installer.ensure(code("#".repeat(300_000)), "v2"))).toContain(
      "plain file",
    );
  });

  test("ensureStartup() takes the lines of the configuration", async () => {
    const installer = await bench.open({ env });
    expect((await installer.ensureStartup(["liba:lib-a==1.0"])).imports).toEqual(["liba"]);
    expect(await message(installer.ensureStartup(["-e ."]))).toContain("startup_pkgs");
  });
});

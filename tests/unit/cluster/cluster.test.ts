import { describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { OlError } from "../../../src/common/errors.ts";
import { createCluster } from "../../../src/cluster/create.ts";
import { claimWorkerDir } from "../../../src/cluster/claim.ts";
import {
  findWorkerProcesses,
  listWorkers,
  openCluster,
  tryFindWorkerProcess,
} from "../../../src/cluster/open.ts";
import { CLUSTER_DIRS } from "../../../src/cluster/paths.ts";
import { validateConfigFile } from "../../../src/config/parse.ts";
import { thrownBy, useTempDir } from "./temp-dir.ts";

const temp = useTempDir();

describe("createCluster()", () => {
  test("makes six directories of mode 0700 and a template that is valid", async () => {
    const dir = join(temp(), "my cluster");
    const paths = await createCluster(dir);
    expect(readdirSync(dir).toSorted()).toEqual([...CLUSTER_DIRS]);
    for (const name of CLUSTER_DIRS) {
      expect(statSync(join(dir, name)).mode & 0o777).toBe(0o700);
    }
    const template = validateConfigFile(JSON.parse(readFileSync(paths.template, "utf8")), "x");
    expect(template).toMatchObject({
      cluster_name: expect.stringMatching(/^my-cluster-[0-9a-f]{8}$/),
      registry: "local",
      registry_dir: join(dir, "registry"),
      sock_base_path: join(dir, "base"),
      Pkgs_dir: join(dir, "packages"),
    });
    expect(readdirSync(temp())).toEqual(["my cluster"]);
  });

  test("gives two clusters of one directory name two names", async () => {
    const names = await Promise.all(
      ["a", "b"].map(async (parent) => {
        mkdirSync(join(temp(), parent));
        const paths = await createCluster(join(temp(), parent, "same"));
        return (JSON.parse(readFileSync(paths.template, "utf8")) as { cluster_name: string })
          .cluster_name;
      }),
    );
    expect(names[0]).not.toBe(names[1]);
  });

  test("refuses what exists: directory, file, dangling link", async () => {
    mkdirSync(join(temp(), "dir"));
    writeFileSync(join(temp(), "file"), "");
    symlinkSync("/nowhere", join(temp(), "link"));
    for (const name of ["dir", "file", "link"]) {
      expect(await thrownBy(() => createCluster(join(temp(), name)))).toMatchObject({
        code: "cluster_exists",
      });
    }
    expect(readdirSync(temp()).toSorted()).toEqual(["dir", "file", "link"]);
  });

  test("refuses a missing parent and a parent that is a file", async () => {
    writeFileSync(join(temp(), "file"), "");
    for (const parent of ["none", "file"]) {
      const error = await thrownBy(() => createCluster(join(temp(), parent, "c")));
      expect(error).toBeInstanceOf(OlError);
      expect(["cluster_missing", "cluster_invalid"]).toContain((error as OlError).code);
    }
    expect(readdirSync(temp())).toEqual(["file"]);
  });

  test("leaves nothing when the base cannot be made", async () => {
    const failing = createCluster(join(temp(), "c"), {
      makeBase: async (baseDir) => {
        writeFileSync(join(baseDir, "half"), "");
        throw new OlError("base_invalid", "no python");
      },
    });
    expect(await thrownBy(() => failing)).toMatchObject({ code: "base_invalid" });
    expect(readdirSync(temp())).toEqual([]);
  });

  test("does not replace what appeared while it worked", async () => {
    const dir = join(temp(), "c");
    const racing = createCluster(dir, { makeBase: async () => mkdirSync(dir) });
    expect(await thrownBy(() => racing)).toMatchObject({ code: "cluster_exists" });
    expect(readdirSync(temp())).toEqual(["c"]);
    expect(readdirSync(dir)).toEqual([]);
  });

  test("refuses impossible names", async () => {
    for (const name of ["", "a\0b", join(temp(), "x".repeat(300))]) {
      expect(await thrownBy(() => createCluster(name))).toMatchObject({ code: "cluster_invalid" });
    }
  });

  test("works below a path longer than a socket address", async () => {
    const parent = join(temp(), "p".repeat(120));
    mkdirSync(parent);
    const paths = await createCluster(join(parent, "c"));
    expect(openCluster(paths.root).root).toBe(paths.root);
  });
});

describe("openCluster()", () => {
  test("says that there is none", async () => {
    for (const name of [join(temp(), "none"), "/etc/passwd/x"]) {
      expect(await thrownBy(() => openCluster(name))).toMatchObject({ code: "cluster_missing" });
    }
  });

  test("says that it is no cluster, and what is missing", async () => {
    const message = async (): Promise<unknown> => thrownBy(() => openCluster(temp()));
    expect(await message()).toMatchObject({
      code: "cluster_invalid",
      message: expect.stringContaining("there is no directory base/ in it"),
    });
    for (const name of CLUSTER_DIRS) mkdirSync(join(temp(), name));
    expect(await message()).toMatchObject({
      message: expect.stringContaining("there is no config/template.json in it"),
    });
    writeFileSync(join(temp(), "file"), "");
    expect(await thrownBy(() => openCluster(join(temp(), "file")))).toMatchObject({
      code: "cluster_invalid",
    });
  });
});

describe("listWorkers()", () => {
  test("finds workers by configuration, pid file and directory, in order of number", async () => {
    const paths = await createCluster(join(temp(), "c"));
    writeFileSync(paths.worker(10).config, "");
    writeFileSync(paths.worker(2).pid, "");
    mkdirSync(paths.worker(3).dir);
    mkdirSync(paths.worker(5).spareDir);
    writeFileSync(`${paths.worker(6).spareDir}.owner`, "");
    writeFileSync(`${paths.worker(4).dir}.lock`, "");
    writeFileSync(join(paths.configDir, "worker-x.json"), "");
    writeFileSync(join(paths.configDir, "worker-007.json"), "");
    expect(listWorkers(paths).map((worker) => worker.index)).toEqual([2, 3, 5, 6, 10]);
  });

  test("findWorkerProcesses() finds the holder of either directory", async () => {
    const paths = await createCluster(join(temp(), "c"));
    const worker = paths.worker(0);
    expect(findWorkerProcesses(worker)).toEqual([]);
    for (const dir of [worker.dir, worker.spareDir]) {
      const claim = claimWorkerDir(dir);
      expect(findWorkerProcesses(worker).map(({ pid }) => pid)).toEqual([process.pid]);
      claim.release();
    }
  });

  test("tryFindWorkerProcess() finds nobody in files that name nobody", async () => {
    const paths = await createCluster(join(temp(), "c"));
    writeFileSync(paths.worker(0).pid, `${process.pid}\n`);
    expect(tryFindWorkerProcess(paths.worker(0))).toBeNull();
    expect(existsSync(paths.worker(0).pid)).toBe(true);
    rmSync(paths.worker(0).pid);
  });
});

/** `ol image build`, from a Dockerfile and from a base, against a daemon of the test's own. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "citty";
import { createBase, readBaseManifest } from "../../../src/base/base.ts";
import imageCommand from "../../../src/cli/image.ts";
import { createCluster } from "../../../src/cluster/create.ts";
import { OlError } from "../../../src/common/errors.ts";
import { debianTarball } from "../../helpers/base-image.ts";
import { type Daemon, hasDockerd, startDockerd } from "../../helpers/dockerd.ts";

setDefaultTimeout(300_000);

async function usage(...rawArgs: string[]): Promise<string> {
  const error: unknown = await runCommand(imageCommand, { rawArgs }).then(
    () => new Error("it succeeded"),
    (cause: unknown) => cause,
  );
  if (!(error instanceof OlError)) throw error;
  expect(error.code).toBe("usage");
  return error.message;
}

test("image refuses other actions, bad names and two sources", async () => {
  expect(await usage("push")).toContain("image build");
  expect(await usage("build", "--tag=Not A Name")).toContain("--tag");
  expect(await usage("build", "--from-base", "--file=Dockerfile", "--cluster=x")).toContain(
    "--file",
  );
});

test("image builds by default on what quickstart/Dockerfile says", () => {
  const text = readFileSync(join(import.meta.dir, "../../../quickstart/Dockerfile"), "utf8");
  expect(text).toMatch(/^FROM python:3\.\d+-slim/mu);
});

describe.skipIf(!hasDockerd())("image build", () => {
  let daemon: Daemon;
  let dir: string;
  let cluster: string;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "ol-image-"));
    cluster = join(dir, "cluster");
    daemon = await startDockerd();
    await createCluster(cluster, {
      settings: { docker: { socket: daemon.socket } },
      makeBase: (base) => createBase({ spec: `tar:${debianTarball("bookworm")}`, dir: base }),
    });
  });

  afterAll(async () => {
    await daemon.close();
    rmSync(dir, { recursive: true, force: true });
  });

  test("imports the cluster's base, and builds on the result", async () => {
    await runCommand(imageCommand, {
      rawArgs: ["build", "--from-base", `--cluster=${cluster}`, "--tag=my/base"],
    });
    const context = join(dir, "context");
    mkdirSync(context);
    writeFileSync(join(context, "note"), "from the context");
    writeFileSync(join(context, "Own"), "FROM my/base\nCOPY note /etc/note\n");
    await runCommand(imageCommand, {
      rawArgs: ["build", `--cluster=${cluster}`, "--tag=own:2", `--file=${join(context, "Own")}`],
    });
    const base = join(dir, "again");
    await createBase({ spec: "docker:own:2", dir: base, docker: { socket: daemon.socket } });
    const { root, pythonVersion } = readBaseManifest(base);
    expect(readFileSync(join(root, "etc/note"), "utf8")).toBe("from the context");
    expect(pythonVersion).toStartWith("3.11.");
  });
});

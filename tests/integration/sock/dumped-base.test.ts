/**
 * The SOCK engine on root file systems of another release than the host's: one dumped from a Docker
 * image against the whole contract, one from a tar file with a lambda.
 */

import { expect, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { debianTarball } from "../../helpers/base-image.ts";
import { hasIoUring } from "../../helpers/requires.ts";
import { runTool } from "../../helpers/run-tool.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { hasDockerd, startDockerd } from "../../helpers/dockerd.ts";
import { Bench } from "../contract/bench.ts";
import { type EngineUnderTest, describeEngine } from "../engine-contract.ts";
import { startSockBench } from "./sock-bench.ts";

const MIB = 1024 * 1024;
const VERSION = "import sys\ndef handler(event):\n    return [event, list(sys.version_info[:2])]\n";

async function startOnImage(): Promise<EngineUnderTest> {
  const daemon = await startDockerd();
  try {
    const image = await daemon.importTarball(debianTarball("trixie"), "trixie");
    const engine = await startSockBench({ base: `docker:${image}`, dockerSocket: daemon.socket });
    if (hasIoUring()) expect(engine.pinnedBytes).toBeGreaterThan(MIB);
    return engine;
  } finally {
    await daemon.close();
  }
}

// Python 3.13 with glibc 2.41.
describeEngine("sock on a dumped image", startOnImage, !hasDockerd());

/** Runs one lambda on a base. */
async function answerOn(base: string, code: string, event: unknown): Promise<unknown> {
  const bench = new Bench();
  const engine = await startSockBench({ base, fromZygote: true });
  bench.open(engine);
  try {
    // What a fork copies was found with this Python as well.
    if (hasIoUring()) expect(engine.pinnedBytes).toBeGreaterThan(MIB);
    return await bench.once(code, event);
  } finally {
    await bench.engine.pool.close();
    await bench.engine.stop();
    rmSync(bench.dir, { recursive: true, force: true });
  }
}

test.skipIf(!hasDockerd())("a lambda runs on a base from a tar file with Python 3.9", async () => {
  const base = `tar:${debianTarball("bullseye")}`;
  expect(await answerOn(base, VERSION, "hello")).toEqual(["hello", [3, 9]]);
});

const AGAIN = `
import subprocess, sys
def handler(event):
    out = subprocess.run([sys.executable, "-c", "print(6 * 7)"], stdout=subprocess.PIPE, check=True).stdout
    return [event, sys.executable, sys.prefix, out.decode()]
`;

/** As standalone builds of Python are installed: not where they were compiled for, and linked from elsewhere. */
function movePython(root: string): void {
  for (const dir of ["opt/python/bin", "opt/python/lib", "usr/local/bin"]) {
    mkdirSync(join(root, dir), { recursive: true });
  }
  for (const name of ["bin/python3.11", "lib/python3.11"]) {
    renameSync(join(root, "usr", name), join(root, "opt/python", name));
  }
  rmSync(join(root, "usr/bin/python3"));
  symlinkSync("/opt/python/bin/python3.11", join(root, "usr/local/bin/python3"));
}

test.skipIf(!hasDockerd())(
  "a lambda runs on a Python that was moved, and starts it again",
  async () => {
    using dir = tempDir("ol-moved-");
    runTool(["tar", "-xf", debianTarball("bookworm")], dir.path);
    movePython(dir.path);
    const path = "/usr/local/bin/python3";
    expect(await answerOn(`dir:${dir.path}`, AGAIN, "hello")).toEqual([
      "hello",
      path,
      "/opt/python",
      "42\n",
    ]);
  },
);

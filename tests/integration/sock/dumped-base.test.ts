/**
 * The SOCK engine on root file systems of another release than the host's: one dumped from a Docker
 * image against the whole contract, one from a tar file with a lambda.
 */

import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { debianTarball } from "../../helpers/base-image.ts";
import { hasDockerd, startDockerd } from "../../helpers/dockerd.ts";
import { Bench } from "../contract/bench.ts";
import { type EngineUnderTest, describeEngine } from "../engine-contract.ts";
import { startSockBench } from "./sock-bench.ts";

const VERSION = "import sys\ndef handler(event):\n    return [event, list(sys.version_info[:2])]\n";

async function startOnImage(): Promise<EngineUnderTest> {
  const daemon = await startDockerd();
  try {
    const image = await daemon.importTarball(debianTarball("trixie"), "trixie");
    return await startSockBench({ base: `docker:${image}`, dockerSocket: daemon.socket });
  } finally {
    await daemon.close();
  }
}

// Python 3.13 with glibc 2.41.
describeEngine("sock on a dumped image", startOnImage, !hasDockerd());

test.skipIf(!hasDockerd())("a lambda runs on a base from a tar file with Python 3.9", async () => {
  const bench = new Bench();
  bench.open(await startSockBench({ base: `tar:${debianTarball("bullseye")}`, fromZygote: true }));
  try {
    expect(await bench.once(VERSION, "hello")).toEqual(["hello", [3, 9]]);
  } finally {
    await bench.engine.pool.close();
    await bench.engine.stop();
    rmSync(bench.dir, { recursive: true, force: true });
  }
});

/** The Docker engine against the contract, on the host's base and on one of another release. */

import { join } from "node:path";
import { debianTarball } from "../../helpers/base-image.ts";
import { hasDockerd } from "../../helpers/dockerd.ts";
import { type EngineUnderTest, describeEngine } from "../engine-contract.ts";
import { startDockerBench } from "./docker-bench.ts";

async function start(spec: string): Promise<EngineUnderTest> {
  const bench = await startDockerBench(spec);
  return {
    pool: await bench.openPool(),
    handlersDir: join(bench.options.workerDir, "handlers"),
    packagesDir: bench.options.packagesDir,
    stop: () => bench.close(),
  };
}

describeEngine("docker on the host's base", () => start("host"), !hasDockerd());
describeEngine(
  "docker on a base of another release",
  () => start(`tar:${debianTarball("trixie")}`),
  !hasDockerd(),
);

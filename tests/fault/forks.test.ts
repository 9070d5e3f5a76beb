/**
 * What a fork of a zygote costs the child in page faults, with io_uring, with which zygotes pin what their
 * children write to, and on a host that has none.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";

import { OL } from "../helpers/ol.ts";
import { refusing } from "../helpers/refused-calls.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { processesBelow } from "../helpers/worker-processes.ts";
import { EngineBench } from "./engine-bench.ts";

/** Fields of /proc/PID/stat behind the name: the eighth is minflt. */
const MINFLT = 7;

let temp: TempDir;
let pinned: EngineBench;
let plain: EngineBench;

/** The executable under a filter that makes a call fail; only its `__init` is started so. */
function without(call: "io_uring_setup"): string {
  const path = temp.join(`ol-without-${call}`);
  const quoted = [...refusing([call], "EPERM"), OL].map(
    (word) => `'${word.replaceAll("'", `'\\''`)}'`,
  );
  writeFileSync(path, `#!/bin/sh\nexec ${quoted.join(" ")} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

beforeAll(async () => {
  temp = tempDir("ol-forks-");
  pinned = await EngineBench.open();
  plain = await EngineBench.open({ executable: without("io_uring_setup") });
});
afterAll(async () => {
  await pinned.close();
  await plain.close();
  temp.remove();
});

function faultsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[MINFLT]);
}

/** Of a sandbox that has answered one call. */
async function faultsOfSandbox(bench: EngineBench, zygoteId: string | null): Promise<number> {
  const sandbox = await bench.create({ zygoteId });
  try {
    await bench.call(sandbox);
    const isOurs = (pid: number): boolean =>
      readFileSync(`/proc/${pid}/mountinfo`, "utf8").includes(`${bench.codeDir} /handler `);
    const handler = processesBelow(process.pid).find(
      ({ role, pid }) => (role === "handler" || role === "spare") && isOurs(pid),
    );
    if (handler === undefined) throw new Error("the sandbox has no process");
    return faultsOf(handler.pid);
  } finally {
    await sandbox.destroy();
  }
}

describe("a sandbox", () => {
  test.each([
    ["the root zygote", null],
    ["an import-cache zygote", "z-1"],
  ])("forked from %s finds copied what it writes to", async (_, zygoteId) => {
    if (zygoteId !== null) {
      const spec = { id: zygoteId, packages: [], imports: ["decimal"] };
      for (const bench of [pinned, plain]) await bench.pool.createZygote(null, spec);
    }
    const faults = await faultsOfSandbox(pinned, zygoteId);
    const plainFaults = await faultsOfSandbox(plain, zygoteId);
    // Each page that is not copied by the fork is one fault; those of program files are there either way.
    expect(plainFaults).toBeGreaterThan(2 * faults);
  });

  test("is made and answers where there is no io_uring, and the log says what that costs", async () => {
    await plain.cycle();
    await waitFor(
      () => readFileSync(plain.zygoteLog, "utf8").includes("forks will be slow"),
      "the zygote has said so",
    );
    expect(readFileSync(pinned.zygoteLog, "utf8")).toBe("");
  });
});

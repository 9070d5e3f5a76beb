/** What an installer is told, such as the password of a proxy, is nothing that a lambda could find. */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Sandbox } from "../../src/sandbox/contract.ts";
import { EngineBench, INSTALLER_LIMITS } from "../fault/engine-bench.ts";
import { scaled } from "../helpers/wait-for.ts";

setDefaultTimeout(scaled(60_000));

/** So that some are forked after the installer ran. */
const MORE_THAN_IN_STOCK = 16;

/** A word that the code of the search does not contain. */
const SECRET = "hunter2-of-the-proxy";

/** Looks for it in all memory of its own process. */
const SEARCH = `
import re
SECRET = re.compile(b"hunter[2]-of-the-proxy")
def handler(event):
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, access = line.split()[:2]
            if "r" not in access or "[v" in line:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            try:
                memory.seek(start)
                if SECRET.search(memory.read(end - start)):
                    return "found"
            except OSError:
                pass
    return "not there"
`;

let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open();
});
afterAll(() => bench.close());

async function search(sandbox: Sandbox, event: unknown): Promise<string> {
  const { body } = await sandbox.call(
    Buffer.from(JSON.stringify(event)),
    INSTALLER_LIMITS.runtimeMs,
  );
  return Buffer.from(body).toString();
}

test("the environment and arguments of an installer are in no memory that a lambda inherits", async () => {
  const codeDir = join(bench.clusterDir, "search");
  mkdirSync(codeDir);
  writeFileSync(join(codeDir, "lambda_func.py"), SEARCH);
  for (let run = 0; run < 3; run++) {
    const { outcome, exitCode, stdout } = await bench.pool.run({
      argv: ["/usr/bin/env", `ARGUMENT=${SECRET}`],
      env: { http_proxy: `user:${SECRET}@127.0.0.1:3128`, PATH: "/usr/bin" },
      mounts: [],
      limits: INSTALLER_LIMITS,
      files: { "pip.conf": `proxy = ${SECRET}` },
    });
    expect([outcome, exitCode]).toEqual(["exited", 0]);
    expect(stdout.split(SECRET)).toHaveLength(3);
  }
  const sandboxes: Sandbox[] = [];
  for (let made = 0; made < MORE_THAN_IN_STOCK; made++) {
    sandboxes.push(await bench.create({ codeDir, codeId: "search-1", limits: INSTALLER_LIMITS }));
  }
  for (const sandbox of sandboxes) expect(await search(sandbox, null)).toBe('"not there"');
  expect(await search(sandboxes[0] as Sandbox, SECRET)).toBe('"found"');
  await Promise.all(sandboxes.map((sandbox) => sandbox.destroy()));
});

/** Wheels with native code for musl, installed by the base's pip and imported in a zygote. */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { basename } from "node:path";

import { pipSettings } from "../helpers/package-links.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { BUILD_TIMEOUT_MS, ensureMuslBase, MUSL_LOADER } from "./musl-base.ts";

setDefaultTimeout(120_000);

const LAMBDA = `
import markupsafe._speedups, numpy, threading
def solve(found):
    matrix = numpy.random.rand(200, 200)
    found.append(bool(numpy.allclose(matrix @ numpy.linalg.inv(matrix), numpy.eye(200))))
def handler(event):
    found = []
    solve(found)
    thread = threading.Thread(target=solve, args=(found,))
    thread.start()
    thread.join()
    lines = [line.split() for line in open("/proc/self/maps")]
    code = {line[5] for line in lines if len(line) == 6 and "x" in line[1] and line[5][0] == "/"}
    return [str(markupsafe._speedups.escape("<")), found, sorted(code)]
`;

let worker: TestWorker;
let restore: () => void;

beforeAll(async () => {
  const { root, wheels } = ensureMuslBase();
  restore = pipSettings({ PIP_FIND_LINKS: wheels, PIP_NO_INDEX: "1" });
  worker = await startWorker(
    { startup_pkgs: ["numpy==1.26.4", "markupsafe==2.1.5"], limits: { mem_mb: 512 } },
    { spec: `dir:${root}` },
  );
}, BUILD_TIMEOUT_MS);

afterAll(async () => {
  await worker.stop();
  restore();
});

test("a lambda with packages of native code forks from a zygote that has them imported", async () => {
  const packages = "numpy==1.26.4\nmarkupsafe==2.1.5\n";
  worker.lambda("native", LAMBDA, { "packages.txt": packages });
  const { status, text, headers } = await worker.call("native");
  if (status !== 200) throw new Error(`${status}: ${text}`);
  expect(headers.get("x-ol-start")).toBe("zygote");
  const [escaped, found, code] = JSON.parse(text) as [string, boolean[], string[]];
  expect([escaped, found]).toEqual(["&lt;", [true, true]]);
  const libcs = code.filter((path) => /^(?:ld-|libc\.)/u.test(basename(path)));
  expect(libcs).toEqual([MUSL_LOADER]);
  for (const name of ["_speedups", "libopenblas", "_multiarray_umath"]) {
    expect(code.filter((path) => basename(path).startsWith(name))).toHaveLength(1);
  }
});

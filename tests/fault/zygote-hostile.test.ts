/** Zygotes whose packages lie, flood, take memory or never come to an end while they are made. */

import { afterAll, beforeAll, expect, test } from "bun:test";

import { OlError } from "../../src/common/errors.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { EngineBench } from "./engine-bench.ts";
import { addPackage, FIND_ZYGOTE } from "./package-fixtures.ts";

const MIB = 1024 ** 2;
let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open();
});
afterAll(() => bench.close());

async function codeOf(failing: Promise<unknown>): Promise<string> {
  try {
    await failing;
    return "none";
  } catch (error) {
    return error instanceof OlError ? error.code : String(error);
  }
}

/** Makes a zygote of one package; what it comes to is the caller's affair. */
function make(
  name: string,
  source: string,
  more: { timeoutMs?: number; memoryMaxBytes?: number } = {},
): Promise<{ importUs: number }> {
  const dir = addPackage(bench, name, source);
  return bench.pool.createZygote(null, { id: name, packages: [dir], imports: [name], ...more });
}

test("one that says that its import took a minute is believed no more than was waited", async () => {
  const rest = await bench.atRest();
  const source = `${FIND_ZYGOTE}
if zygote is not None:
    honest = zygote.say
    zygote.say = lambda **message: honest(**{**message, **({"importUs": 60000000} if "importUs" in message else {})})
`;
  const startMs = performance.now();
  const { importUs } = await make("olclaims", source);
  expect(importUs).toBeGreaterThan(0);
  expect(importUs).toBeLessThanOrEqual((performance.now() - startMs) * 1000);
  await bench.pool.destroyZygote("olclaims");
  await bench.expectAtRest(rest);
});

test.each([
  ["exits of children that it never had", 'event="exit", id="child-%d" % number, signal=0, code=0'],
  ["being ready again and again", 'event="ready", id="self", importUs=1'],
])("one that floods the worker with %s is ended", async (what, words) => {
  const gone: string[] = [];
  bench.pool.onZygoteGone((id) => gone.push(id));
  const rest = await bench.atRest();
  const name = `olflood${what.length}`;
  const source = `${FIND_ZYGOTE}
def flood():
    while not ready:
        time.sleep(0.001)
    try:
        for number in range(10000000):
            honest(${words})
    except OSError:
        pass
if zygote is not None:
    honest, ready = zygote.say, []
    def say(**message):
        honest(**message)
        ready.append(message)
    zygote.say = say
    threading.Thread(target=flood, daemon=True).start()
`;
  await make(name, source);
  await waitFor(() => gone.includes(name), "it is told of");
  await bench.cycle();
  await bench.expectAtRest(rest);
});

test("one that imports without end fails when its time is over", async () => {
  const rest = await bench.atRest();
  const source = "while True: pass\n";
  expect(await codeOf(make("olendless", source, { timeoutMs: 300 }))).toBe("sandbox_create");
  await bench.cycle();
  await bench.expectAtRest(rest);
});

test("one that is given up while it imports fails at once", async () => {
  const rest = await bench.atRest();
  const failing = codeOf(make("olgivenup", "while True: pass\n"));
  await waitFor(() => bench.now().exact.processes > rest.exact.processes, "it is being made");
  await bench.pool.destroyZygote("olgivenup");
  expect(await failing).toBe("sandbox_create");
  await bench.expectAtRest(rest);
});

test("one that takes more memory than it was given fails alone", async () => {
  const rest = await bench.atRest();
  const source = "import os\nif os.getuid() == 0: HELD = b'x' * (1 << 30)\n";
  const limits = { memoryMaxBytes: 64 * MIB };
  expect(await codeOf(make("olhungry", source, limits))).toBe("sandbox_create");
  await bench.cycle();
  await bench.expectAtRest(rest);
});

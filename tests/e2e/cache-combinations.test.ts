/**
 * Handler cache and import cache, each on and off: what a caller sees must be the same but for its speed. Real
 * packages from the real index, through HTTP.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { startPackagesWorker } from "../helpers/packages-worker.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { printed, type TestWorker } from "../helpers/worker.ts";

/** Downloads included. */
const TIMEOUT_MS = 300_000;
const ROUNDS = 2;

/** Lambdas that do not look at what an earlier call has left: by name, their packages and their code. */
const LAMBDAS: Readonly<Record<string, readonly [packages: string, code: string]>> = {
  plain: ["", "def handler(event):\n    print('plain', event)\n    return {'event': event}\n"],
  numpy1: [
    "numpy==1.26.4",
    "import numpy\ndef handler(event):\n    print(numpy.__version__, event)\n    return numpy.arange(event).tolist()\n",
  ],
  numpy2: [
    "numpy==2.1.3",
    "import numpy\ndef handler(event):\n    print(numpy.__version__, event)\n    return numpy.arange(event).tolist()\n",
  ],
  both: [
    "requests==2.32.3\nnumpy==2.1.3",
    "import numpy, requests, sys\ndef handler(event):\n    print('to stderr', event, file=sys.stderr)\n" +
      "    url = requests.Request('GET', 'http://a/', params={'n': int(numpy.int64(event))}).prepare().url\n    return url\n",
  ],
  raises: [
    "pydantic==2.9.2",
    "import pydantic\nclass M(pydantic.BaseModel):\n    n: int\ndef handler(event):\n    print('before', event)\n    return M(n=[event]).n\n",
  ],
  unloadable: ["lxml==5.3.0", "import lxml\nprint('at load')\nlxml.no_such_function()\n"],
  undeclared: [
    "requests==2.32.3",
    "import requests\ndef handler(event):\n    import numpy\n    return numpy.__version__\n",
  ],
  unserializable: [
    "lxml==5.3.0",
    "from lxml import etree\ndef handler(event):\n    return etree.Element('a')\n",
  ],
  exits: [
    "lxml==5.3.0",
    "import lxml, os\ndef handler(event):\n    print('last words', event)\n    os._exit(event)\n",
  ],
};

/** What one worker made of all calls. */
interface Outcome {
  readonly answers: readonly unknown[];
  readonly output: Readonly<Record<string, readonly [stdout: string, stderr: string]>>;
  /** Ways in which calls one by one got their sandboxes. */
  readonly starts: ReadonlySet<string | null>;
}

const COMBINATIONS = [
  ["both caches", {}],
  ["the import cache alone", { handler_cache_size: 0 }],
  ["the handler cache alone", { import_cache_size: 0 }],
  ["no cache", { handler_cache_size: 0, import_cache_size: 0 }],
] as const;

async function call(
  worker: TestWorker,
  name: string,
  event: number,
): Promise<{ readonly seen: readonly unknown[]; readonly start: string | null }> {
  const { status, text, headers } = await worker.call(name, event);
  const seen = [name, event, status, headers.get("x-ol-error"), text];
  return { seen, start: headers.get("x-ol-start") };
}

/** Waits until zygotes serve two lambdas like these, which then have them from their first call on. */
async function waitForZygotes(worker: TestWorker): Promise<void> {
  for (const name of ["numpy2", "both"]) {
    const [packages, code] = LAMBDAS[name]!;
    await waitFor(async () => {
      // Another text is another version: a new sandbox, also where the one before is kept.
      const text = `# ${performance.now()}\n${code}`;
      worker.lambda(`like-${name}`, text, { "packages.txt": packages });
      const { headers } = await worker.call(`like-${name}`, 0);
      return headers.get("x-ol-start") === "zygote";
    }, `a lambda like ${name} is served from a zygote`);
  }
}

async function run(settings: Readonly<Record<string, unknown>>): Promise<Outcome> {
  const worker = await startPackagesWorker({
    registry_cache_ms: 0,
    ...settings,
  });
  try {
    for (const [name, [packages, code]] of Object.entries(LAMBDAS)) {
      worker.lambda(name, code, packages === "" ? {} : { "packages.txt": packages });
    }
    if (!("import_cache_size" in settings)) await waitForZygotes(worker);
    const answers: unknown[] = [];
    const starts = new Set<string | null>();
    for (let round = 1; round <= ROUNDS; round += 1) {
      for (const name of Object.keys(LAMBDAS)) {
        const { seen, start } = await call(worker, name, round);
        answers.push(seen);
        starts.add(start);
      }
    }
    // At the same time: several sandboxes of each.
    const names = Object.keys(LAMBDAS).flatMap((name) => [name, name]);
    const atOnce = names.map((name, index) => call(worker, name, 4 + (index % 2)));
    answers.push(...(await Promise.all(atOnce)).map(({ seen }) => seen));
    const sorted = (name: string, stream: "stdout" | "stderr"): string =>
      printed(worker, name, stream).split("\n").toSorted().join("\n");
    return {
      answers,
      output: Object.fromEntries(
        Object.keys(LAMBDAS).map((name) => [
          name,
          [sorted(name, "stdout"), sorted(name, "stderr")],
        ]),
      ),
      starts,
    };
  } finally {
    await worker.stop();
  }
}

describe("the four combinations of caches", () => {
  const outcomes = new Map<string, Outcome>();

  beforeAll(async () => {
    for (const [what, settings] of COMBINATIONS) outcomes.set(what, await run(settings));
  }, TIMEOUT_MS);
  afterAll(() => outcomes.clear());

  test("without any, errors and values are what they should be", () => {
    const answers = outcomes.get("no cache")!.answers as [string, number, number, string, string][];
    const statuses = Object.fromEntries(answers.map(([name, , status]) => [name, status]));
    expect(statuses).toEqual({
      plain: 200,
      numpy1: 200,
      numpy2: 200,
      both: 200,
      raises: 500,
      unloadable: 500,
      undeclared: 500,
      unserializable: 500,
      exits: 502,
    });
    const textOf = (lambda: string): string => answers.find(([name]) => name === lambda)![4];
    expect(textOf("both")).toBe('"http://a/?n=1"');
    expect(textOf("undeclared")).toContain("No module named 'numpy'");
    expect(textOf("raises")).toContain("validation error for M");
    expect(textOf("unloadable")).toContain("no_such_function");
  });

  test.each(COMBINATIONS.map(([what]) => [what]))("%s: the same answers and output", (what) => {
    const { answers, output } = outcomes.get(what)!;
    const reference = outcomes.get("no cache")!;
    expect(answers).toEqual(reference.answers);
    for (const [name, streams] of Object.entries(output)) {
      // How often a lambda is loaded differs, and only that.
      if (name !== "unloadable") expect([name, streams]).toEqual([name, reference.output[name]!]);
    }
    expect(output["unloadable"]?.[0]).toContain("at load");
  });

  test("each had its way of starting", () => {
    const starts = Object.fromEntries([...outcomes].map(([what, { starts: had }]) => [what, had]));
    expect(starts["both caches"]).toContain("zygote");
    expect(starts["both caches"]).toContain("warm");
    expect(starts["the import cache alone"]).toEqual(new Set(["zygote", "fresh"]));
    expect(starts["the handler cache alone"]).not.toContain("zygote");
    expect(starts["the handler cache alone"]).toContain("warm");
    expect(starts["no cache"]).toEqual(new Set(["fresh"]));
  });
});

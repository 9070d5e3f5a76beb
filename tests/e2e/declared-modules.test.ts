/**
 * No lambda ever sees a module that it did not declare: random sets of real packages, called cold in random
 * order on a worker whose import cache is small enough for zygotes to come and go. Each lambda tells what
 * is in `sys.modules` before its first own import.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";

import { startPackagesWorker } from "../helpers/packages-worker.ts";
import { seededRandom } from "../helpers/random.ts";
import type { TestWorker } from "../helpers/worker.ts";

// Downloads included.
setDefaultTimeout(300_000);

const LAMBDAS = 10;
const CALLS = 30;
/** Room for some of what is asked for, never for all. */
const IMPORT_CACHE_MB = 40;

/** By line of packages.txt: the module, and which of the others it brings along. */
const PACKAGES: Readonly<Record<string, readonly [module: string, ...brings: string[]]>> = {
  "numpy==2.1.3": ["numpy"],
  "requests==2.32.3": ["requests", "urllib3", "certifi", "idna", "charset_normalizer"],
  "flask==3.0.3": ["flask", "jinja2", "markupsafe", "werkzeug", "click", "itsdangerous", "blinker"],
  "pydantic==2.9.2": ["pydantic", "pydantic_core", "annotated_types", "typing_extensions"],
  "PIL:pillow==10.4.0": ["PIL"],
  "sqlalchemy==2.0.35": ["sqlalchemy", "greenlet", "typing_extensions"],
  "cryptography==43.0.1": ["cryptography", "cffi", "_cffi_backend", "pycparser"],
};
const ALL_MODULES = new Set(Object.values(PACKAGES).flat());

/** Modules by the distribution's directory that they come from, before and after the lambda's imports. */
const LISTS = `import sys
def listing():
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        place = file.split("/")[2] if file.startswith("/packages/") else ""
        found.setdefault(place, []).append(name)
    return found
BEFORE = listing()
PATH = [entry.split("/")[2] for entry in sys.path if entry.startswith("/packages/")]
IMPORTS
AFTER = listing()
def handler(event):
    return [event, BEFORE, AFTER, PATH]
`;

type Listing = Readonly<Record<string, readonly string[]>>;

let worker: TestWorker;

beforeAll(async () => {
  worker = await startPackagesWorker({
    handler_cache_size: 0,
    import_cache_size: IMPORT_CACHE_MB * 1024,
  });
});
afterAll(() => worker.stop());

/** Writes a lambda that declares and imports these. @returns modules that it may see */
function declare(name: string, lines: readonly string[]): ReadonlySet<string> {
  const imports = lines.map((line) => `import ${PACKAGES[line]![0]}`).join("\n");
  worker.lambda(name, LISTS.replace("IMPORTS", imports), { "packages.txt": lines.join("\n") });
  return new Set(lines.flatMap((line) => PACKAGES[line]!));
}

/** @returns those of the modules above that are in a listing, by their top-level names */
function known(listing: Listing): readonly string[] {
  const names = Object.values(listing).flat();
  return [...new Set(names.map((name) => name.split(".")[0]!))].filter((one) =>
    ALL_MODULES.has(one),
  );
}

test("over random trees, a lambda sees modules of what it declared and of nothing else", async () => {
  const random = seededRandom("declared-modules");
  const lines = Object.keys(PACKAGES);
  const lambdas = Array.from({ length: LAMBDAS }, (_, index) => {
    const picked = new Set<string>();
    for (let left = random.between(1, 3); left > 0; left -= 1) picked.add(random.pick(lines));
    const name = `declares-${index}`;
    return { name, declared: [...picked], allowed: declare(name, [...picked]) };
  });
  // What one without packages finds comes with Python, whatever else there is.
  worker.lambda("none", LISTS.replace("IMPORTS", ""));
  let fromZygotes = 0;
  let inherited = 0;
  for (let call = 0; call < CALLS; call += 1) {
    const { name, declared, allowed } = random.pick(lambdas);
    const { status, text, headers } = await worker.call(name, call);
    expect([name, status, status === 200 ? "" : text]).toEqual([name, 200, ""]);
    const [event, before, after, path] = JSON.parse(text) as [number, Listing, Listing, string[]];
    expect(event).toBe(call);
    for (const listing of [before, after]) {
      const places = Object.keys(listing).filter((place) => place !== "");
      expect(places.filter((place) => !path.includes(place))).toEqual([]);
      expect(known(listing).filter((one) => !allowed.has(one))).toEqual([]);
    }
    for (const line of declared) expect(known(after)).toContain(PACKAGES[line]![0]);
    if (headers.get("x-ol-start") === "fresh") expect(known(before)).toEqual([]);
    else fromZygotes += 1;
    if (known(before).length > 0) inherited += 1;
    if (call % 10 === 0) {
      const bare = JSON.parse((await worker.call("none")).text) as [null, Listing, Listing];
      expect(Object.keys(bare[1])).toEqual([""]);
      expect(known(bare[1])).toEqual([]);
    }
  }
  expect(fromZygotes).toBeGreaterThan(CALLS / 10);
  // A zygote is worth nothing if it has not imported anything.
  expect(inherited).toBe(fromZygotes);
});

/**
 * Distributions that share one package, and distributions of which a part cannot be imported: a lambda finds in a
 * sandbox that is forked from a zygote what it finds in a fresh one.
 */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import type { PackageDir } from "../../src/sandbox/contract.ts";
import { EngineBench } from "./engine-bench.ts";
import { addCode, addPackage } from "./package-fixtures.ts";

/** What an `__init__.py` of the old styles says; null: there is none. */
const STYLES = {
  implicit: null,
  pkgutil: '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n',
  pkg_resources:
    "try:\n    __import__('pkg_resources').declare_namespace(__name__)\nexcept ImportError:\n" +
    "    __path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
} as const;

let bench: EngineBench;

beforeAll(async () => {
  bench = await EngineBench.open();
});
afterAll(() => bench.close());

/** Writes a distribution that brings `modules`, each with its name as `V`; all `__init__.py` say `init`. */
function addParts(dir: string, init: string | null, modules: readonly string[]): PackageDir {
  const packages = join(bench.clusterDir, "packages");
  chmodSync(packages, 0o755);
  for (const module of modules) {
    const file = join(packages, dir, `${module.replaceAll(".", "/")}.py`);
    mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    writeFileSync(file, `V = ${JSON.stringify(module)}\n`, { mode: 0o644 });
    if (init === null) continue;
    for (let at = dirname(file); at !== join(packages, dir); at = dirname(at)) {
      writeFileSync(join(at, "__init__.py"), init, { mode: 0o644 });
    }
  }
  // As the install cache sees it: one package, or its parts where others may have more of it.
  return { dir, modules: init === "" ? ["olplain"] : modules };
}

async function answerOf(
  code: ReturnType<typeof addCode>,
  zygoteId: string | null,
  packages: readonly PackageDir[],
): Promise<unknown> {
  const sandbox = await bench.create({ ...code, zygoteId, packages });
  expect(sandbox.origin).toBe(zygoteId === null ? "fresh" : "zygote");
  const { body } = await sandbox.call(Buffer.from("null"), 10_000);
  await sandbox.destroy();
  return JSON.parse(Buffer.from(body).toString());
}

test.each(Object.entries(STYLES))(
  "a part that no zygote has is found beside one that it has: %s",
  async (style, init) => {
    const rest = await bench.atRest();
    const ns = `ol${style.replace("_", "")}`;
    const first = addParts(`${ns}-first`, init, [`${ns}.one`, `${ns}.deep.one`]);
    const second = addParts(`${ns}-second`, init, [`${ns}.two`, `${ns}.deep.two`]);
    const id = `z-${style}`;
    await bench.pool.createZygote(null, { id, packages: [first], imports: [`${ns}.deep.one`] });
    const code = addCode(
      bench,
      style,
      `from ${ns} import one, two\nfrom ${ns}.deep import one as deep, two as deeper\n` +
        "def handler(event):\n    return [one.V, two.V, deep.V, deeper.V]\n",
    );
    const all = [`${ns}.one`, `${ns}.two`, `${ns}.deep.one`, `${ns}.deep.two`];
    for (const zygoteId of [null, id]) {
      expect(await answerOf(code, zygoteId, [first, second])).toEqual(all);
    }
    // Whoever declares less finds less.
    const less = addCode(
      bench,
      `${style}-less`,
      `def handler(event):\n    try:\n        import ${ns}.two\n    except ImportError as error:\n        return str(error)\n`,
    );
    expect(await answerOf(less, id, [first])).toBe(`No module named '${ns}.two'`);
    await bench.pool.destroyZygote(id);
    await bench.expectAtRest(rest);
  },
);

test("a package that belongs to one distribution gets nothing of another", async () => {
  const plain = addParts("olplain-first", "", ["olplain.one"]);
  const other = addParts("olplain-second", "", ["olplain.two"]);
  await bench.pool.createZygote(null, {
    id: "z-plain",
    packages: [plain],
    imports: ["olplain.one"],
  });
  const code = addCode(
    bench,
    "plain-package",
    "import olplain.one\ndef handler(event):\n    try:\n        import olplain.two\n    except ImportError as error:\n        return str(error)\n",
  );
  for (const zygoteId of [null, "z-plain"]) {
    expect(await answerOf(code, zygoteId, [plain, other])).toBe("No module named 'olplain.two'");
  }
  await bench.pool.destroyZygote("z-plain");
});

test("a module that needs what nobody declared costs a zygote this module alone", async () => {
  const rest = await bench.atRest();
  const whole = addPackage(bench, "olwhole", "V = 'whole'\n");
  const partial = addPackage(bench, "olpartial", "import olwhole\nimport olnowhere\n");
  const packages = [whole, partial];
  const imports = ["olpartial", "olwhole"];
  await bench.pool.createZygote(null, { id: "z-partial", packages, imports });
  const code = addCode(
    bench,
    "partial",
    "import sys\nSEEN = 'olwhole' in sys.modules, 'olpartial' in sys.modules\n" +
      "def handler(event):\n    try:\n        import olpartial\n    except ImportError as error:\n        return [SEEN, str(error)]\n",
  );
  const missing = "No module named 'olnowhere'";
  expect(await answerOf(code, "z-partial", packages)).toEqual([[true, false], missing]);
  expect(await answerOf(code, null, packages)).toEqual([[false, false], missing]);
  await bench.pool.destroyZygote("z-partial");
  await bench.expectAtRest(rest);
});

test.each([
  ["of none of its imports is there", "import olnowhere\n", "No module named 'olnowhere'"],
  ["of one import fails otherwise", "raise RuntimeError('words of it')\n", "words of it"],
])("a zygote does not come about where %s", async (what, source, words) => {
  const name = `olbad${what.length}`;
  const packages = [addPackage(bench, name, source), { dir: "olwhole", modules: ["olwhole"] }];
  const imports = source.startsWith("raise") ? ["olwhole", name] : [name];
  const made = bench.pool.createZygote(null, { id: `z-${name}`, packages, imports });
  expect(made).rejects.toThrow(words);
  await made.catch(() => {});
});

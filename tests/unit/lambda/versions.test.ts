/** Versions of code: pulled once, in use until the last instance is gone, kept when the store is not. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { OlError } from "../../../src/common/errors.ts";
import { silentLogger } from "../../../src/common/log.ts";
import { type CodeVersion, VersionSource } from "../../../src/lambda/versions.ts";
import { removeShared, type TempDir, tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { FakeClock, FakeInstaller, FakeRegistry, settle } from "./fakes.ts";

const CACHE_MS = 5_000;
const AWAY = new OlError("registry_unavailable", "the store is away", { retryable: true });

let dir: TempDir;
let clock: FakeClock;
let registry: FakeRegistry;
let installer: FakeInstaller;
let source: VersionSource;

beforeEach(() => {
  dir = tempDir();
  clock = new FakeClock();
  registry = new FakeRegistry();
  installer = new FakeInstaller();
  registry.put("f", "one");
  source = open("f");
});
afterEach(async () => {
  await removeShared(dir);
});

function open(name: string): VersionSource {
  const parts = { registry, installer, clock, log: silentLogger };
  return new VersionSource(name, { ...parts, codeRoot: dir.path, cacheMs: CACHE_MS });
}

const codeOf = (version: CodeVersion | null): string =>
  version === null ? "none" : readFileSync(join(version.codeDir, "lambda_func.py"), "utf8");

/** The version in use, asked for when the registry must be asked again. */
async function next(): Promise<CodeVersion | null> {
  clock.advanceMs(CACHE_MS);
  return await source.current();
}

async function codeFrom(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof OlError) return error.code;
    throw error;
  }
  return "none";
}

describe("current()", () => {
  test("pulls a version once and asks again only after the cache's time", async () => {
    expect(source.fresh).toBeNull();
    const first = await source.current();
    expect([codeOf(first), source.fresh === first]).toEqual(["one", true]);
    clock.advanceMs(CACHE_MS - 1);
    expect([source.fresh, await source.current()]).toEqual([first, first]);
    expect([registry.resolves, registry.pulls]).toEqual([1, 1]);
    clock.advanceMs(1);
    expect(source.fresh).toBeNull();
    expect(await source.current()).toBe(first);
    expect([registry.resolves, registry.pulls]).toEqual([2, 1]);
  });

  test("asks the registry once for many who ask at the same time", async () => {
    const gate = Promise.withResolvers<void>();
    registry.gate = gate.promise;
    const asked = Array.from({ length: 5 }, () => source.current());
    gate.resolve();
    expect(new Set(await Promise.all(asked)).size).toBe(1);
    expect([registry.resolves, registry.pulls]).toEqual([1, 1]);
  });

  test("asks anew after a check that failed, and shares nothing of it", async () => {
    registry.broken = AWAY;
    const failed = [source.current(), source.current()].map(codeFrom);
    expect(await Promise.all(failed)).toEqual(Array(2).fill("registry_unavailable"));
    registry.broken = null;
    expect(codeOf(await source.current())).toBe("one");
  });

  test("gives a new version a directory and an id of its own", async () => {
    const first = await source.current();
    first?.acquire();
    registry.put("f", "two");
    const second = await next();
    expect([codeOf(first), codeOf(second)]).toEqual(["one", "two"]);
    expect(second?.codeDir).not.toBe(first?.codeDir as string);
    expect(second?.codeId).not.toBe(first?.codeId as string);
  });

  test("gives lambdas with equal code ids of their own", async () => {
    registry.put("g", "one");
    const [f, g] = [await source.current(), await open("g").current()];
    expect(f?.codeId).not.toBe(g?.codeId as string);
  });

  test("takes the store's word for what was really pulled", async () => {
    const gate = Promise.withResolvers<void>();
    registry.pullGate = gate.promise;
    const asked = source.current();
    await settle();
    registry.put("f", "newer");
    gate.resolve();
    const version = await asked;
    expect([version?.registryVersion.id, codeOf(version)]).toEqual(["newer", "newer"]);
    expect(await next()).toBe(version);
    expect(registry.pulls).toBe(1);
  });

  test("gives null for what the registry does not have, and asks each time", async () => {
    const unknown = open("unknown");
    expect([await unknown.current(), await unknown.current()]).toEqual([null, null]);
    expect([registry.resolves, readdirSync(dir.path)]).toEqual([2, []]);
  });
});

describe("a store that is away or broken", () => {
  test("is an error where no version is here, and leaves nothing behind", async () => {
    registry.broken = AWAY;
    expect(await codeFrom(source.current())).toBe("registry_unavailable");
    registry.broken = null;
    registry.brokenPulls.push(new OlError("bundle_invalid", "no bundle"));
    expect(await codeFrom(source.current())).toBe("bundle_invalid");
    expect(readdirSync(dir.join("f"))).toEqual([]);
  });

  test("keeps the version in use, and is not asked more often for it", async () => {
    const first = await source.current();
    registry.broken = AWAY;
    expect(await next()).toBe(first);
    expect([source.fresh, codeOf(first)]).toEqual([first, "one"]);
    registry.broken = null;
    registry.put("f", "two");
    registry.brokenPulls.push(new OlError("bundle_invalid", "no bundle"));
    expect(await next()).toBe(first);
    expect(readdirSync(dir.join("f"))).toHaveLength(1);
    expect(codeOf(await next())).toBe("two");
  });

  test("tells an error of the worker's own as one", async () => {
    registry.pullGate = Promise.reject(new TypeError("a bug"));
    expect(await codeFrom(source.current())).toBe("internal");
  });
});

describe("the end of a version", () => {
  const isGone = (version: CodeVersion): (() => boolean) => {
    return () => !existsSync(version.codeDir);
  };

  test("its directory goes when a newer one is here and nobody uses it", async () => {
    const first = (await source.current())!;
    registry.put("f", "two");
    await next();
    await waitFor(isGone(first), "the old code is gone");
    expect(readdirSync(dir.join("f"))).toHaveLength(1);
  });

  test("its directory stays until the last user is gone, however the others end", async () => {
    const first = (await source.current())!;
    for (let user = 0; user < 3; user++) first.acquire();
    first.release();
    registry.put("f", "two");
    const second = (await next())!;
    second.acquire();
    first.release();
    await settle();
    expect([first.users, codeOf(first)]).toEqual([1, "one"]);
    first.release();
    await waitFor(isGone(first), "the old code is gone");
    second.release();
    await settle();
    expect(codeOf(second)).toBe("two");
  });

  test("a lambda that vanishes from the registry ends its version; it may come back", async () => {
    const first = (await source.current())!;
    first.acquire();
    registry.delete("f");
    expect(await next()).toBeNull();
    await settle();
    expect(codeOf(first)).toBe("one");
    first.release();
    await waitFor(isGone(first), "the code is gone");
    registry.put("f", "one");
    expect(codeOf(await next())).toBe("one");
  });
});

describe("ensurePackages()", () => {
  const PACKAGES = { dirs: [{ dir: "numpy", modules: ["numpy"] }], imports: ["numpy"], units: [] };

  test("installs once, for many who ask at the same time and for those who come later", async () => {
    const gate = Promise.withResolvers<typeof PACKAGES>();
    installer.answers.set("one", gate.promise);
    const version = (await source.current())!;
    const asked = Array.from({ length: 3 }, () => version.ensurePackages());
    await settle();
    expect(version.installed).toBeNull();
    gate.resolve(PACKAGES);
    expect(await Promise.all(asked)).toEqual([PACKAGES, PACKAGES, PACKAGES]);
    expect([await version.ensurePackages(), version.installed]).toEqual([PACKAGES, PACKAGES]);
    expect(installer.asked).toEqual([version.codeId]);
  });

  test("fails for all who wait and is tried again by the next", async () => {
    const gate = Promise.withResolvers<typeof PACKAGES>();
    installer.answers.set("one", gate.promise);
    const version = (await source.current())!;
    const failed = [version.ensurePackages(), version.ensurePackages()].map(codeFrom);
    gate.reject(new OlError("package_install", "pip says no"));
    expect(await Promise.all(failed)).toEqual(["package_install", "package_install"]);
    installer.answers.set("one", Promise.resolve(PACKAGES));
    expect(await version.ensurePackages()).toEqual(PACKAGES);
    expect(installer.asked).toHaveLength(2);
  });

  test("is nothing where there is no installer", async () => {
    const bare = new VersionSource("f", {
      registry,
      installer: null,
      codeRoot: dir.path,
      cacheMs: CACHE_MS,
      clock,
      log: silentLogger,
    });
    const version = (await bare.current())!;
    expect(await version.ensurePackages()).toEqual({ dirs: [], imports: [], units: [] });
  });
});

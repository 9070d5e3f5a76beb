import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { OlError } from "../../../src/common/errors.ts";
import {
  fillDefaults,
  memoryPoolBytesOf,
  mergeConfig,
  parseConfig,
  validateConfigFile,
} from "../../../src/config/parse.ts";

const MIB = 1024 * 1024;

const worker = {
  cluster_name: "c",
  worker_port: 8080,
  worker_dir: "/c/workers/worker-0",
  registry_dir: "/c/registry",
  sock_base_path: "/c/base",
  Pkgs_dir: "/c/packages",
};

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(OlError);
    expect((error as OlError).code).toBe("config_invalid");
    return (error as OlError).message;
  }
  throw new Error("nothing was thrown");
}

const refusal = (json: unknown): string => messageOf(() => validateConfigFile(json, "x.json"));

describe("validateConfigFile()", () => {
  test.each([
    [{ worker_port: -1 }, '"worker_port" is -1, allowed is a whole number from 1 to 65535'],
    [{ worker_port: 0 }, '"worker_port" is 0, allowed is a whole number from 1 to 65535'],
    [{ worker_port: 2 ** 53 }, '"worker_port" is 9007199254740992, allowed is a whole number'],
    [{ worker_port: 80.5 }, '"worker_port" is 80.5, allowed is a whole number'],
    [{ worker_port: "8080" }, '"worker_port" is "8080", allowed is a whole number'],
    [{ worker_port: null }, '"worker_port" is null, allowed is a whole number'],
    [{ mem_pool_mb: Number.NaN }, '"mem_pool_mb" is NaN, allowed is a whole number'],
    [{ max_queue: Infinity }, '"max_queue" is Infinity, allowed is a whole number'],
    [{ handler_cache_size: -1 }, '"handler_cache_size" is -1, allowed is a whole number from 0'],
    [{ max_runners: 0 }, '"max_runners" is 0, allowed is a whole number from 1 to 1024'],
    [{ limits: { mem_mb: 0 } }, '"limits.mem_mb" is 0, allowed is a whole number from 8'],
    [{ limits: { runtime_sec: 0 } }, '"limits.runtime_sec" is 0, allowed is a number from 0.1'],
    [{ limits: 5 }, '"limits" is 5, allowed is a JSON object'],
    [{ timing: 1 }, '"timing" is 1, allowed is true or false'],
    [{ registry: "s3" }, '"registry" is "s3", allowed is "local" or "remote"'],
    [{ sandbox: "Sock" }, '"sandbox" is "Sock", allowed is "sock" or "docker"'],
    [{ network: "bridge" }, '"network" is "bridge", allowed is "none" or "host"'],
    [{ registry_dir: "registry" }, '"registry_dir" is "registry", allowed is an absolute path'],
    [{ registry_dir: "/a\0b" }, "allowed is an absolute path"],
    [{ bind: "all of them" }, '"bind" is "all of them", allowed is an IP address or "localhost"'],
    [{ cluster_name: "../x" }, '"cluster_name" is "../x", allowed is letters, digits'],
    [{ startup_pkgs: ["numpy", "--index-url=http://x"] }, '"startup_pkgs.1" is "--index-url'],
    [{ startup_pkgs: ["numpy", "numpy"] }, "allowed is at most 256 different requirements"],
    [{ startup_pkgs: "numpy" }, '"startup_pkgs" is "numpy"'],
    [{ sandbox_config: { "a b": "1" } }, '"sandbox_config.a b" cannot be its name'],
    [{ docker: { socket: "x" } }, '"docker.socket" is "x", allowed is an absolute path'],
    [{ pip_mirror: "file:///etc" }, '"pip_mirror" is "file:///etc", allowed is a URL'],
    [{ registry_server: "http://u:p@h" }, "allowed is a URL such as"],
    [{ registry_server: "ftp://h" }, "allowed is a URL such as"],
    [{ registry_server: "http://h/bucket?x" }, "allowed is a URL such as"],
  ])("refuses %j", (json, expected) => {
    expect(refusal(json)).toContain(expected);
  });

  test.each([[null], [[]], ["text"], [7]])("refuses %j as a whole", (json) => {
    expect(refusal(json)).toContain("allowed is a JSON object");
  });

  test("names the nearest key for an unknown one, at any depth", () => {
    expect(refusal({ max_runer: 1 })).toBe(
      'Cannot use x.json: "max_runer" is no key of it, did you mean "max_runners"',
    );
    expect(refusal({ limits: { mem: 1 } })).toContain('did you mean "limits.mem_mb"');
    expect(refusal({ docker: { zzzzzz: 1 } })).toContain("known are base_image, runtime, socket");
  });

  test("refuses __proto__ and constructor as keys", () => {
    expect(refusal(JSON.parse('{"__proto__": {"mem_mb": 1}}'))).toContain('"__proto__" is no key');
    expect(refusal({ constructor: 1 })).toContain('"constructor" is no key');
  });

  test("never repeats a secret", () => {
    const message = refusal({
      registry_secret_key: "tell no one",
      sandbox_config: { K: ["s3cr"] },
    });
    expect(message).toContain('"registry_secret_key" is (hidden)');
    expect(message).not.toContain("tell no one");
    expect(message).not.toContain("s3cr");
  });

  test("lists at most three findings and counts the rest", () => {
    const message = refusal({ a1: 1, b1: 1, c1: 1, d1: 1, e1: 1 });
    expect(message).toEndWith("; and 2 more");
    expect(message.split("; ")).toHaveLength(4);
  });

  test("shortens a long value", () => {
    expect(refusal({ cluster_name: "x".repeat(10_000) }).length).toBeLessThan(250);
  });

  test("either accepts any JSON value or says config_invalid", () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.constantFrom(...Object.keys(worker), "limits"),
        (value, key) => {
          try {
            validateConfigFile({ [key]: value }, "x");
          } catch (error) {
            expect(error).toBeInstanceOf(OlError);
          }
        },
      ),
    );
  });
});

describe("parseConfig()", () => {
  const parsed = parseConfig(worker, "x.json", { memoryPoolBytes: 4096 * MIB });

  test("converts units and fills in the documented defaults", () => {
    expect(parsed).toEqual({
      clusterName: "c",
      workerPort: 8080,
      bind: "127.0.0.1",
      workerDir: "/c/workers/worker-0",
      registry: { kind: "local", dir: "/c/registry", cacheMs: 5000 },
      sandbox: "sock",
      basePath: "/c/base",
      packagesDir: "/c/packages",
      pipMirror: null,
      startupPackages: [],
      maxRunners: 1,
      handlerCacheBytes: 1024 * MIB,
      importCacheBytes: 1024 * MIB,
      cgroupPoolSize: 16,
      sandboxEnv: {},
      timing: false,
      benchmarkLog: null,
      memoryPoolBytes: 4096 * MIB,
      limits: {
        memoryMaxBytes: 256 * MIB,
        processesMax: 64,
        cpuPercent: 100,
        runtimeMs: 30_000,
        scratchMaxBytes: 512 * MIB,
      },
      installerLimits: {
        memoryMaxBytes: 1024 * MIB,
        processesMax: 64,
        cpuPercent: 100,
        runtimeMs: 300_000,
        scratchMaxBytes: 2048 * MIB,
      },
      queueMax: 1000,
      bodyMaxBytes: 16 * MIB,
      network: "none",
      docker: { socket: "/var/run/docker.sock", baseImage: null, runtime: null },
    });
  });

  test("freezes what it returns, at every depth", () => {
    expect(Object.isFrozen(parsed)).toBe(true);
    expect(Object.isFrozen(parsed.limits)).toBe(true);
    expect(Object.isFrozen(parsed.startupPackages)).toBe(true);
    expect(Object.isFrozen(parsed.docker)).toBe(true);
  });

  test("keeps the defaults of a group of which one key is given", () => {
    const config = parseConfig({ ...worker, limits: { runtime_sec: 0.5 } }, "x");
    expect(config.limits.runtimeMs).toBe(500);
    expect(config.limits.memoryMaxBytes).toBe(256 * MIB);
  });

  test("does not let one configuration's defaults change another's", () => {
    const first = fillDefaults({});
    first.startup_pkgs?.push("numpy");
    expect(fillDefaults({}).startup_pkgs).toEqual([]);
  });

  test.each([["worker_port"], ["worker_dir"], ["registry_dir"], ["sock_base_path"], ["Pkgs_dir"]])(
    "says that %s is missing",
    (key) => {
      const { [key as keyof typeof worker]: _, ...rest } = worker;
      expect(messageOf(() => parseConfig(rest, "x.json"))).toContain(`"${key}" is missing`);
    },
  );

  test("wants server and keys of a remote registry and completes host:port to a URL", () => {
    const remote = { ...worker, registry: "remote" };
    expect(messageOf(() => parseConfig(remote, "x"))).toContain('"registry_server" is missing');
    const server = { ...remote, registry_server: "localhost:9000" };
    expect(messageOf(() => parseConfig(server, "x"))).toContain('"registry_access_key" is missing');
    const full = { ...server, registry_access_key: "ab", registry_secret_key: "cd" };
    expect(parseConfig(full, "x").registry).toEqual({
      kind: "remote",
      server: "http://localhost:9000",
      accessKey: "ab",
      secretKey: "cd",
      cacheMs: 5000,
    });
    const url = { ...full, registry_server: "https://s3.example.org/" };
    expect(parseConfig(url, "x").registry).toMatchObject({ server: "https://s3.example.org" });
    const bucket = { ...full, registry_server: "https://s3.example.org/bucket/prefix" };
    expect(parseConfig(bucket, "x").registry).toMatchObject({
      server: "https://s3.example.org/bucket/prefix",
    });
  });

  test("refuses a pool that no sandbox fits in", () => {
    const small = { ...worker, mem_pool_mb: 100 };
    expect(messageOf(() => parseConfig(small, "x"))).toContain(
      '"mem_pool_mb" is 100, allowed is at least "limits.mem_mb", which is 256',
    );
  });

  test("hands sandbox_config to lambdas as text", () => {
    const config = parseConfig({ ...worker, sandbox_config: { A: "x", B: 7, C: true } }, "x");
    expect(config.sandboxEnv).toEqual({ A: "x", B: "7", C: "true" });
  });
});

test("memoryPoolBytesOf() takes 80 % of what is available, whole MiB, at least 16", () => {
  expect(memoryPoolBytesOf("MemTotal: 9 kB\nMemAvailable:    1024000 kB\n")).toBe(800 * MIB);
  expect(memoryPoolBytesOf("MemAvailable:    1024 kB\n")).toBe(16 * MIB);
  expect(memoryPoolBytesOf("")).toBe(16 * MIB);
});

describe("mergeConfig()", () => {
  test("merges groups, replaces lists and removes what is null", () => {
    const template = { a: 1, limits: { mem_mb: 1, procs: 2 }, startup_pkgs: ["x", "y"] };
    expect(mergeConfig(template, { limits: { procs: 3 }, startup_pkgs: ["z"], a: null })).toEqual({
      limits: { mem_mb: 1, procs: 3 },
      startup_pkgs: ["z"],
    });
  });

  test("changes neither argument", () => {
    const template = { limits: { mem_mb: 1 } };
    mergeConfig(template, { limits: { mem_mb: 2 } });
    expect(template).toEqual({ limits: { mem_mb: 1 } });
  });

  test("does not pollute the prototype", () => {
    const merged = mergeConfig({}, JSON.parse('{"__proto__": {"polluted": 1}}'));
    expect(Object.keys(merged as object)).toEqual(["__proto__"]);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });
});

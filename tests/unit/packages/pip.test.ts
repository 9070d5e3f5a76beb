import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OlError } from "../../../src/common/errors.ts";
import { INSTALL_MESSAGE_MAX_CHARS } from "../../../src/common/package-limits.ts";
import type { CommandResult, CommandSpec } from "../../../src/packages/contract.ts";
import { Pip, pipWords } from "../../../src/packages/pip.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pip-"));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

const limits = {
  memoryMaxBytes: 1,
  processesMax: 2,
  cpuPercent: 3,
  runtimeMs: 4,
  scratchMaxBytes: 5,
};
const PROBED = JSON.stringify({ tag: "cpython-311", abi: "abi", platform: "linux-x86_64" });
const ended = (more: Partial<CommandResult>): CommandResult => ({
  outcome: "exited",
  exitCode: 0,
  stdout: PROBED,
  stderr: "",
  ...more,
});

/** A pip whose runs end as told; keeps what was asked. */
function scripted(results: Partial<CommandResult>[], mirror: string | null = null) {
  const specs: CommandSpec[] = [];
  const runner = {
    run: (spec: CommandSpec) => {
      specs.push(spec);
      return Promise.resolve(ended(results.shift() ?? {}));
    },
  };
  const env = { PIP_CONFIG_FILE: "/dev/null", HOME: dir, SECRET: "x" };
  return { specs, pip: new Pip({ runner, limits, mirror, python: "/usr/bin/python3", env }) };
}
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable("it worked"),
    (error: unknown) => error as OlError,
  );

test("Pip gives the sandbox its limits, its files, and nothing of the worker's environment", async () => {
  const { specs, pip } = scripted([{}, { exitCode: 1 }], "https://mirror.test/simple");
  await failure(pip.resolve(["a>=1"], dir));
  const spec = specs[1]!;
  expect(spec.limits).toBe(limits);
  expect(spec.mounts).toEqual([{ source: dir, target: "/host", readOnly: false }]);
  expect(spec.argv).toEqual(["/usr/bin/python3", "-I", "/run/install/installer.py"]);
  expect(spec.env).not.toHaveProperty("SECRET");
  expect(JSON.parse(spec.files["job.json"]!)).toEqual({
    mode: "resolve",
    names: [],
  });
  expect(spec.files["pip.conf"]).toContain("index-url = https://mirror.test/simple\n");
  expect(spec.files["requirements.txt"]).toBe("a>=1\n");
});

test("Pip looks at the base once, and again after that failed", async () => {
  const { specs, pip } = scripted([{ exitCode: 1 }]);
  await failure(pip.environment());
  expect(await pip.environment()).toBe("cpython-311 abi linux-x86_64");
  await pip.environment();
  expect(specs).toHaveLength(2);
});

test.each([
  [{ exitCode: 90 }, "the base has no pip"],
  [{ outcome: "timeout" }, "installer_limits.runtime_sec"],
  [{ outcome: "out_of_memory" }, "installer_limits.mem_mb"],
  [{ outcome: "output_limit" }, "installer_limits.scratch_mb"],
  [{ outcome: "signalled" }, "killed by a signal"],
  [{ exitCode: 1, stderr: "ERROR: no such thing" }, "ERROR: no such thing"],
] as const)("Pip says of %j that %s", async (result, words) => {
  const { pip } = scripted([{}, result]);
  const error = await failure(pip.resolve(["a"], dir));
  expect(error.code).toBe("package_install");
  expect(error.message).toContain(words);
  expect(error.message).toContain("Cannot install a:");
});

test("Pip says that a report is missing", async () => {
  const { pip } = scripted([]);
  expect((await failure(pip.resolve(["a"], dir))).message).toContain("no report");
});

test("pipWords() begins at the first error and leaves warnings and notices out", () => {
  const stderr =
    "WARNING: old\nlooking\n  error: subprocess\n  box\n[notice] new pip\nERROR: last\n";
  expect(pipWords(ended({ stderr }))).toBe("error: subprocess\n  box\nERROR: last");
});

test("pipWords() tells that the index could not be reached, which pip takes for no package", () => {
  const broken =
    "after connection broken by 'NewConnectionError('<p.Http object at 0x7f>: no name')'";
  const retrying = `WARNING: Retrying (Retry(total=0)) ${broken}: /simple/x/\n`;
  const stderr = `${retrying}${retrying}WARNING: old\nERROR: No matching distribution found for x\n`;
  expect(pipWords(ended({ stderr }))).toBe(
    "given up after connection broken by 'NewConnectionError('no name')': /simple/x/\n" +
      "ERROR: No matching distribution found for x",
  );
});

test("pipWords() does not tell twice that the index could not be reached", () => {
  const stderr =
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'x': /x.whl\n" +
    "ERROR: Max retries exceeded with url: /x.whl\n";
  expect(pipWords(ended({ stderr }))).toBe("ERROR: Max retries exceeded with url: /x.whl");
});

test("pipWords() keeps the end of long words", () => {
  const words = pipWords(ended({ stderr: `${"x".repeat(100_000)}end` }));
  expect(words.length).toBeLessThanOrEqual(INSTALL_MESSAGE_MAX_CHARS + 1);
  expect(words).toEndWith("end");
});

/**
 * The systemd unit of the README, word for word, on a machine that systemd runs: workers are started,
 * replaced and stopped by it. Only in the VM: it takes the name, the paths and the ports of a real service.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expectNoLeaks, type LeakSnapshot, leakSnapshot } from "../helpers/leaks.ts";
import { OL } from "../helpers/ol.ts";
import { PROJECT_DIR } from "../helpers/paths.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { isRunning, processesBelow, type WorkerProcess } from "../helpers/worker-processes.ts";

const CLUSTER = "/var/lib/openlambda";
const INSTALLED = "/usr/local/bin/ol";
const UNIT = "/etc/systemd/system/openlambda.service";
const SERVICE = "/system.slice/openlambda.service";
const PORTS = [8080, 8081] as const;
const HELLO = 'def handler(event):\n    return "Hello, " + event + "!"\n';
const ANSWER = '200 "Hello, Alice!"';
const CLIENTS = 2;

function systemctl(...args: string[]): { exitCode: number; text: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["systemctl", ...args], { stdin: "ignore" });
  return { exitCode, text: `${stdout.toString()}${stderr.toString()}` };
}

/** Runs it beside this program, whose calls go on. */
async function succeeds(...args: string[]): Promise<void> {
  const child = Bun.spawn(["systemctl", ...args], { stdin: "ignore", stderr: "pipe" });
  if ((await child.exited) === 0) return;
  const status = systemctl("status", "--no-pager", "openlambda").text;
  throw new Error(`systemctl ${args.join(" ")}: ${await child.stderr.text()}\n${status}`);
}

/** The unit as the README shows it. */
function unitOfReadme(): string {
  const readme = readFileSync(join(PROJECT_DIR, "README.md"), "utf8");
  const unit = /```ini\n([\s\S]*?)```/.exec(readme)?.[1];
  if (unit === undefined) throw new Error("the README shows no unit");
  return unit;
}

async function hello(port: number): Promise<string> {
  const url = `http://127.0.0.1:${port}/run/hello`;
  const answer = await fetch(url, { method: "POST", body: '"Alice"' });
  return `${answer.status} ${await answer.text()}`;
}

const workerPids = (): number[] =>
  PORTS.map((_, index) => Number(readFileSync(`${CLUSTER}/logs/worker-${index}.pid`, "utf8")));

/** Everything of both workers, themselves excepted. */
const belowWorkers = (): WorkerProcess[] => workerPids().flatMap((pid) => processesBelow(pid));

/** Null where it is gone. */
function cgroupOf(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, "utf8");
  } catch {
    return null;
  }
}

let before: LeakSnapshot;

describe.if(process.env["OL_TEST_VM"] === "1")("the systemd unit of the README", () => {
  beforeAll(async () => {
    for (const dir of ["/var/lib", "/usr/local/bin"]) mkdirSync(dir, { recursive: true });
    copyFileSync(OL, INSTALLED);
    const made = Bun.spawnSync([INSTALLED, "new", `--cluster=${CLUSTER}`]);
    if (!made.success) throw new Error(made.stderr.toString());
    mkdirSync(`${CLUSTER}/registry/hello`);
    writeFileSync(`${CLUSTER}/registry/hello/lambda_func.py`, HELLO);
    writeFileSync(UNIT, unitOfReadme());
    await succeeds("daemon-reload");
    before = leakSnapshot();
  });
  afterAll(() => {
    systemctl("stop", "openlambda");
    for (const path of [UNIT, CLUSTER, INSTALLED]) rmSync(path, { recursive: true, force: true });
  });

  test("starts workers that answer, in the cgroup of the unit", async () => {
    await succeeds("start", "openlambda");
    for (const port of PORTS) expect(await hello(port)).toBe(ANSWER);
    for (const pid of workerPids()) {
      expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toBe(`0::${SERVICE}/openlambda-worker\n`);
    }
    // Limits of the unit hold for sandboxes too. Spares come and go.
    const living = belowWorkers()
      .map(({ pid, role }) => ({ role, cgroup: cgroupOf(pid) }))
      .filter(({ cgroup }) => cgroup !== null);
    expect(living.map(({ role }) => role)).toContain("handler");
    for (const { cgroup } of living) expect(cgroup).toStartWith(`0::${SERVICE}/`);
  });

  test("replaces them on reload, without losing a call", async () => {
    const [old, oldBelow] = [workerPids(), belowWorkers()];
    const progress = { isOver: false, calls: 0, wrong: [] as string[] };
    const client = async (index: number): Promise<void> => {
      const port = PORTS[index % PORTS.length] ?? PORTS[0];
      while (!progress.isOver) {
        const answer = await hello(port).catch(String);
        progress.calls += 1;
        if (answer !== ANSWER) progress.wrong.push(answer);
      }
    };
    const clients = Array.from({ length: CLIENTS }, (_, index) => client(index));
    try {
      await succeeds("reload", "openlambda");
    } finally {
      progress.isOver = true;
      await Promise.all(clients);
    }
    expect(progress.wrong).toEqual([]);
    expect(progress.calls).toBeGreaterThan(CLIENTS);
    expect(workerPids().filter((pid) => old.includes(pid))).toEqual([]);
    await waitFor(() => !oldBelow.some(isRunning), "what the old workers had is gone");
  });

  test("leaves nothing when it is stopped", async () => {
    await succeeds("stop", "openlambda");
    expect(systemctl("is-active", "openlambda").text.trim()).toBe("inactive");
    await expectNoLeaks(before, { marks: [CLUSTER, INSTALLED], deadCgroups: "openlambda" });
  });
});

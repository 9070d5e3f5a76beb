/** Facts of the machine that a figure means nothing without. */

import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";

import { tryCommand } from "./command.ts";

/** Recorded in every result file. */
export interface MachineFacts {
  readonly kernel: string;
  readonly architecture: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Frequency governor of the first core, or why there is none. */
  readonly governor: string;
  readonly virtual: string;
  readonly cgroup: "v1" | "v2" | "hybrid" | "none";
  readonly mitigations: string;
  readonly hugePages: string;
  readonly loadAverage: readonly number[];
  /** Commit of the tree that the suite was started in, with `+` where it had changes. */
  readonly commit: string;
  /** Version line by program. */
  readonly versions: Readonly<Record<string, string>>;
}

function firstLine(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim().split("\n")[0] ?? "";
  } catch {
    return null;
  }
}

/** Which cgroup hierarchies are mounted. */
function cgroupKind(): MachineFacts["cgroup"] {
  if (existsSync("/sys/fs/cgroup/cgroup.controllers")) return "v2";
  const mounts = readFileSync("/proc/self/mounts", "utf8");
  const v1 = / cgroup /.test(mounts);
  if (/ cgroup2 /.test(mounts)) return v1 ? "hybrid" : "v2";
  return v1 ? "v1" : "none";
}

async function versionOf(command: readonly string[]): Promise<string> {
  const output = await tryCommand(command).catch(() => null);
  if (output === null || output.exitCode !== 0) return "not there";
  return `${output.stdout}${output.stderr}`.trim().split("\n")[0] ?? "";
}

async function commitOf(root: string): Promise<string> {
  const head = await tryCommand(["git", "-C", root, "rev-parse", "--short=12", "HEAD"]);
  if (head.exitCode !== 0) return "not in a git tree";
  const changed = await tryCommand(["git", "-C", root, "status", "--porcelain", "-uno"]);
  return head.stdout.trim() + (changed.stdout.trim() === "" ? "" : "+");
}

/**
 * @param ol path of the executable under test
 * @param root of the project
 * @returns facts as they are now
 */
export async function machineFacts(ol: string, root: string): Promise<MachineFacts> {
  const [version, python, docker, wrk, pip, virtual, commit] = await Promise.all([
    versionOf([ol, "--version"]),
    versionOf(["/usr/bin/python3", "--version"]),
    versionOf(["docker", "--version"]),
    versionOf(["dpkg-query", "-W", "-f", "${Version}", "wrk"]),
    versionOf(["/usr/bin/python3", "-m", "pip", "--version"]),
    versionOf(["systemd-detect-virt"]),
    commitOf(root),
  ]);
  return {
    kernel: release(),
    architecture: process.arch,
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    governor:
      firstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") ?? "none (no cpufreq)",
    virtual,
    cgroup: cgroupKind(),
    mitigations: firstLine("/sys/devices/system/cpu/vulnerabilities/spectre_v2") ?? "unknown",
    hugePages: firstLine("/sys/kernel/mm/transparent_hugepage/enabled") ?? "unknown",
    loadAverage: loadavg(),
    commit,
    // Path of pip is of no interest and would tell where this machine keeps it.
    versions: {
      ol: version,
      bun: Bun.version,
      python,
      pip: pip.replace(/ from .*/, ""),
      docker,
      wrk,
    },
  };
}

/** Memory cgroups as a test needs them, in either version: where a process is, what is used, a limit. */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Files of one version. */
interface Names {
  readonly usage: string;
  readonly limit: string;
  readonly unlimited: string;
}

const V1: Names = {
  usage: "memory.usage_in_bytes",
  limit: "memory.limit_in_bytes",
  unlimited: "-1",
};
const V2: Names = { usage: "memory.current", limit: "memory.max", unlimited: "max" };

/** The mounted hierarchy with the memory controller. */
function hierarchy(): { mount: string; names: Names; line: RegExp } {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  for (const fields of mounts.map((line) => line.split(" "))) {
    const [, mount = "", type, options = ""] = fields;
    if (type === "cgroup" && options.split(",").includes("memory")) {
      return { mount, names: V1, line: /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m };
    }
  }
  const unified = mounts.map((line) => line.split(" ")).find((fields) => fields[2] === "cgroup2");
  if (unified?.[1] === undefined) throw new Error("no hierarchy has the memory controller");
  return { mount: unified[1], names: V2, line: /^0::(.*)$/m };
}

/** One memory cgroup. */
export class MemoryCgroup {
  readonly dir: string;
  readonly #names: Names;

  /** @param dir that exists or is to be made, in the hierarchy that `at` found */
  private constructor(dir: string, names: Names) {
    this.dir = dir;
    this.#names = names;
  }

  /**
   * @param pid of a process
   * @returns the cgroup that it is in
   */
  static of(pid: number): MemoryCgroup {
    const { mount, names, line } = hierarchy();
    const path = line.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1];
    if (path === undefined) throw new Error(`process ${pid} is in no memory cgroup`);
    return new MemoryCgroup(join(mount, path), names);
  }

  /**
   * @param name of a directory of the top
   * @returns it; it is not made
   */
  static top(name: string): MemoryCgroup {
    const { mount, names } = hierarchy();
    return new MemoryCgroup(join(mount, name), names);
  }

  /** The cgroup above. */
  get parent(): MemoryCgroup {
    return new MemoryCgroup(dirname(this.dir), this.#names);
  }

  /** What it and those below it use, in bytes. */
  get usedBytes(): number {
    return Number(readFileSync(join(this.dir, this.#names.usage), "utf8"));
  }

  /** @param bytes that it and those below it may use, without swap; null: no limit */
  limit(bytes: number | null): void {
    writeFileSync(join(this.dir, this.#names.limit), String(bytes ?? this.#names.unlimited));
    // Else it would be swapped out on machines that have where to.
    const swap = join(this.dir, "memory.swap.max");
    if (existsSync(swap)) writeFileSync(swap, bytes === null ? "max" : "0");
    const swappiness = join(this.dir, "memory.swappiness");
    if (existsSync(swappiness) && bytes !== null) writeFileSync(swappiness, "0");
  }

  /** @param pid of a process that is put there */
  join(pid: number): void {
    writeFileSync(join(this.dir, "cgroup.procs"), String(pid));
  }
}

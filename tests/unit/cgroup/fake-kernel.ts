/**
 * A cgroup file system in memory, for the hosts that this machine is not: it makes the files that the kernel
 * would make and refuses what the kernel would refuse. What it does not know it throws on.
 */

import { SyscallError } from "../../../src/common/errors.ts";
import type { CgroupIo } from "../../../src/cgroup/io.ts";

/** What kind of machine is simulated. */
export interface FakeHost {
  /** `/proc/self/mountinfo`. */
  readonly mountinfo: string;
  /** `/proc/self/cgroup`. */
  readonly ownCgroup?: string;
  /** `/proc/cgroups`. */
  readonly procCgroups?: string;
  /** Mount points of version 2, with the controllers that the top offers. */
  readonly v2?: Readonly<Record<string, readonly string[]>>;
  /** Mount points of version 1, with their controllers. */
  readonly v1?: Readonly<Record<string, readonly string[]>>;
  /** Linux version as number: 5.01, 5.10, 6.01, 6.18. */
  readonly kernel?: number;
  /** Whether the top of version 2 is the real root, which may hold processes and children's controllers. */
  readonly realRoot?: boolean;
  /** Files whose writing fails, with the errno's name. */
  readonly refuse?: Readonly<Record<string, string>>;
}

const ERRNOS: Readonly<Record<string, number>> = {
  EPERM: 1,
  ENOENT: 2,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  EROFS: 30,
  ENOTEMPTY: 39,
};

function fail(call: string, name: string, path: string): SyscallError {
  return new SyscallError(call, ERRNOS[name] ?? 0, name, path);
}

/** The simulated kernel. */
export class FakeKernel implements CgroupIo {
  readonly selfPid = 4711;
  /** Other processes of the same executable. */
  readonly alsoOurs = new Set<number>();
  readonly files = new Map<string, string>();
  readonly dirs = new Set<string>();
  readonly killed: number[] = [];
  readonly writes: string[] = [];
  /** Reads of a freezing version 1 cgroup until it is frozen. */
  freezingReads = 0;
  /** Called before each kill, so that a test can let something fork. */
  onKill: (pid: number) => void = () => {};
  readonly #host: FakeHost;
  readonly #kernel: number;

  constructor(host: FakeHost) {
    this.#host = host;
    this.#kernel = host.kernel ?? 6.18;
    this.files.set("/proc/self/mountinfo", host.mountinfo);
    this.files.set("/proc/self/cgroup", host.ownCgroup ?? "0::/\n");
    this.files.set("/proc/cgroups", host.procCgroups ?? "");
    for (const point of [...Object.keys(host.v2 ?? {}), ...Object.keys(host.v1 ?? {})]) {
      this.#fill(point, true);
    }
  }

  read(path: string): string {
    const text = this.files.get(path);
    if (text === undefined) throw fail("read", "ENOENT", path);
    if (path.endsWith("/freezer.state") && text === "FREEZING\n") {
      if (this.freezingReads > 0) this.freezingReads -= 1;
      else this.files.set(path, "FROZEN\n");
      return this.files.get(path) ?? "";
    }
    return text;
  }

  write(path: string, text: string): void {
    this.writes.push(`${path} ${text}`);
    const refused = this.#host.refuse?.[path];
    if (refused !== undefined) throw fail("write", refused, path);
    if (!this.files.has(path)) throw fail("write", "ENOENT", path);
    const slash = path.lastIndexOf("/");
    const dir = path.slice(0, slash);
    const file = path.slice(slash + 1);
    if (file === "cgroup.subtree_control") this.#control(dir, text);
    else if (file === "cgroup.procs") this.#move(dir, Number(text));
    else if (file === "cgroup.kill") this.#killBelow(dir);
    else if (file === "cgroup.freeze") {
      this.files.set(path, `${text}\n`);
      this.files.set(`${dir}/cgroup.events`, `populated 1\nfrozen ${text}\n`);
    } else if (file === "freezer.state") {
      this.files.set(path, text === "FROZEN" ? "FREEZING\n" : "THAWED\n");
    } else this.files.set(path, `${text}\n`);
  }

  isOurs(pid: number): boolean {
    return pid === this.selfPid || this.alsoOurs.has(pid);
  }

  exists(path: string): boolean {
    return this.files.has(path) || this.dirs.has(path);
  }

  makeDir(path: string): void {
    if (this.dirs.has(path)) throw fail("mkdir", "EEXIST", path);
    const parent = path.slice(0, path.lastIndexOf("/"));
    const refused = this.#host.refuse?.[parent];
    if (refused !== undefined) throw fail("mkdir", refused, path);
    if (!this.dirs.has(parent)) throw fail("mkdir", "ENOENT", path);
    this.#fill(path, false);
  }

  removeDir(path: string): void {
    if (!this.dirs.has(path)) throw fail("rmdir", "ENOENT", path);
    const children = [...this.dirs].some((dir) => dir.startsWith(`${path}/`));
    if (children || this.pidsIn(path).length > 0) throw fail("rmdir", "EBUSY", path);
    this.dirs.delete(path);
    for (const file of this.files.keys()) if (file.startsWith(`${path}/`)) this.files.delete(file);
  }

  childDirs(path: string): string[] {
    if (!this.dirs.has(path)) throw fail("readdir", "ENOENT", path);
    return [...this.dirs]
      .filter((dir) => dir.startsWith(`${path}/`) && !dir.slice(path.length + 1).includes("/"))
      .map((dir) => dir.slice(path.length + 1));
  }

  kill(pid: number): void {
    this.onKill(pid);
    this.killed.push(pid);
    for (const dir of this.dirs)
      this.setPids(
        dir,
        this.pidsIn(dir).filter((other) => other !== pid),
      );
  }

  pauseUs(): void {}

  openWrite(path: string): number {
    if (!this.files.has(path)) throw fail("open", "ENOENT", path);
    return 100;
  }

  openReadWrite(path: string): number {
    if (this.#kernel < 6.12) throw fail("open", "EACCES", path);
    return this.openWrite(path);
  }

  readFd(): string {
    return "4096\n";
  }

  writeFd(): void {}

  close(): void {}

  /** Processes of one cgroup. */
  pidsIn(dir: string): number[] {
    return (this.files.get(`${dir}/cgroup.procs`) ?? "").split("\n").filter(Boolean).map(Number);
  }

  /** Puts processes into a cgroup without asking. */
  setPids(dir: string, pids: readonly number[]): void {
    this.files.set(`${dir}/cgroup.procs`, pids.map((pid) => `${pid}\n`).join(""));
  }

  #words(path: string): string[] {
    return (this.files.get(path) ?? "").trim().split(/\s+/).filter(Boolean);
  }

  /** Enables or disables one controller for the children of `dir`. */
  #control(dir: string, text: string): void {
    const path = `${dir}/cgroup.subtree_control`;
    const name = text.slice(1);
    const enabled = this.#words(path).filter((word) => word !== name);
    if (text.startsWith("+")) {
      if (!this.#words(`${dir}/cgroup.controllers`).includes(name)) {
        throw fail("write", "ENOENT", path);
      }
      const top = Object.keys(this.#host.v2 ?? {}).includes(dir) && (this.#host.realRoot ?? true);
      if (!top && this.pidsIn(dir).length > 0) throw fail("write", "EBUSY", path);
      enabled.push(name);
    }
    this.files.set(path, `${enabled.join(" ")}\n`);
    for (const child of this.childDirs(dir)) this.#offer(`${dir}/${child}`, enabled);
  }

  #move(dir: string, pid: number): void {
    if (this.#words(`${dir}/cgroup.subtree_control`).length > 0) {
      throw fail("write", "EBUSY", `${dir}/cgroup.procs`);
    }
    const point = this.#pointOf(dir);
    for (const other of this.dirs) {
      if (this.#pointOf(other) !== point) continue;
      this.setPids(
        other,
        this.pidsIn(other).filter((entry) => entry !== pid),
      );
    }
    this.setPids(dir, [...this.pidsIn(dir), pid]);
  }

  #killBelow(dir: string): void {
    for (const entry of this.dirs) {
      if (entry !== dir && !entry.startsWith(`${dir}/`)) continue;
      for (const pid of this.pidsIn(entry)) this.kill(pid);
    }
  }

  #pointOf(dir: string): string {
    const points = [...Object.keys(this.#host.v2 ?? {}), ...Object.keys(this.#host.v1 ?? {})];
    return points.find((point) => dir === point || dir.startsWith(`${point}/`)) ?? "";
  }

  /** The files of a new cgroup. */
  #fill(dir: string, top: boolean): void {
    this.dirs.add(dir);
    this.setPids(dir, []);
    const point = this.#pointOf(dir);
    const v2 = this.#host.v2?.[point];
    const put = (file: string, text: string): Map<string, string> =>
      this.files.set(`${dir}/${file}`, text);
    if (v2 !== undefined) {
      put("cgroup.subtree_control", "\n");
      put("cpu.stat", "usage_usec 0\nnr_throttled 0\nthrottled_usec 0\n");
      if (!top) {
        if (this.#kernel >= 5.02) {
          put("cgroup.freeze", "0\n");
          put("cgroup.events", "populated 0\nfrozen 0\n");
        }
        if (this.#kernel >= 5.14) put("cgroup.kill", "");
      }
      const parent = dir.slice(0, dir.lastIndexOf("/"));
      this.#offer(dir, top ? v2 : this.#words(`${parent}/cgroup.subtree_control`));
      return;
    }
    for (const name of this.#host.v1?.[point] ?? []) {
      if (name === "freezer") put("freezer.state", "THAWED\n");
      if (name === "pids") put("pids.max", "max\n");
      if (name === "cpuacct") put("cpuacct.usage", "0\n");
      if (name === "cpu") {
        put("cpu.cfs_quota_us", "-1\n");
        put("cpu.stat", "nr_throttled 0\nthrottled_time 0\n");
      }
      if (name === "memory") {
        put("memory.use_hierarchy", "0\n");
        put("memory.limit_in_bytes", "9223372036854771712\n");
        put("memory.memsw.limit_in_bytes", "9223372036854771712\n");
        put("memory.usage_in_bytes", "0\n");
        put("memory.max_usage_in_bytes", "0\n");
        put("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
      }
    }
  }

  /** The files that version 2 controllers add to a cgroup when its parent enables them. */
  #offer(dir: string, controllers: readonly string[]): void {
    this.files.set(`${dir}/cgroup.controllers`, `${controllers.join(" ")}\n`);
    if (Object.keys(this.#host.v2 ?? {}).includes(dir)) return;
    const put = (file: string, text: string): void => {
      if (!this.files.has(`${dir}/${file}`)) this.files.set(`${dir}/${file}`, text);
    };
    if (controllers.includes("pids")) put("pids.max", "max\n");
    if (controllers.includes("cpu")) put("cpu.max", "max 100000\n");
    if (!controllers.includes("memory")) return;
    put("memory.max", "max\n");
    put("memory.swap.max", "max\n");
    put("memory.oom.group", "0\n");
    put("memory.current", "0\n");
    put("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n");
    if (this.#kernel >= 5.19) put("memory.peak", "0\n");
  }
}

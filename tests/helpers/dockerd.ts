/**
 * A Docker daemon of the tests' own: socket, data, runtime state and containerd below one temporary
 * directory, no bridge and no firewall rules, so that the machine's own daemon is never touched.
 */

import {
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import Docker from "dockerode";

/** A running daemon. */
export interface Daemon {
  /** Path of its socket. */
  readonly socket: string;
  readonly docker: Docker;
  /** Imports a root file system and returns the image's name. */
  importTarball(file: string, image: string): Promise<string>;
  /** Stops the daemon process, as `systemctl stop docker` would; containers end with it. */
  halt(): Promise<void>;
  /** Ends the daemon process as a crash would; containers go on. */
  crash(): Promise<void>;
  /** Starts it again on the same data and socket. */
  resume(): Promise<void>;
  /** Lets the daemon process hang: it takes connections and never answers. */
  hang(): void;
  /** Ends that. */
  unhang(): void;
  /** Stops it and removes all that it had. */
  close(): Promise<void>;
}

/** Nothing of the host's network is touched. */
const QUIET =
  "--bridge=none --iptables=false --ip6tables=false --ip-masq=false --userland-proxy=false --shutdown-timeout=2".split(
    " ",
  );

const START_TIMEOUT_MS = 60_000;

/** @returns whether this machine can run a daemon at all */
export function hasDockerd(): boolean {
  return Bun.which("dockerd") !== null && process.getuid?.() === 0;
}

/** Starts a daemon and waits until it answers. */
export async function startDockerd(): Promise<Daemon> {
  const dir = mkdtempSync(join(tmpdir(), "ol-dockerd-"));
  const socket = join(dir, "docker.sock");
  const docker = new Docker({ socketPath: socket });
  let child = await launch(dir, socket, docker);
  const halt = async (): Promise<void> => {
    child.kill("SIGTERM");
    await child.exited;
  };
  return {
    socket,
    docker,
    importTarball: async (file, image) => {
      const stream = await docker.importImage(file, { repo: image, tag: "latest" });
      await new Promise<void>((resolve, reject) => {
        docker.modem.followProgress(stream, (error) =>
          error === null ? resolve() : reject(error),
        );
      });
      return `${image}:latest`;
    },
    halt,
    crash: async () => {
      child.kill("SIGKILL");
      await child.exited;
      // containerd ends with it; where nobody collects its exit, its number would look alive.
      rmSync(join(dir, "run/containerd/containerd.pid"), { force: true });
    },
    hang: () => child.kill("SIGSTOP"),
    unhang: () => child.kill("SIGCONT"),
    resume: async () => {
      child = await launch(dir, socket, docker);
    },
    close: async () => {
      child.kill("SIGCONT");
      await removeContainers(docker);
      await halt();
      unmountBelow(dir);
      removeCgroups(basename(dir));
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Starts the process and waits until it answers. */
async function launch(dir: string, socket: string, docker: Docker): Promise<Bun.Subprocess> {
  const log = join(dir, "dockerd.log");
  const out = openSync(log, "a");
  const child = Bun.spawn({
    cmd: [
      "dockerd",
      `--host=unix://${socket}`,
      `--data-root=${join(dir, "data")}`,
      `--exec-root=${join(dir, "run")}`,
      `--pidfile=${join(dir, "docker.pid")}`,
      `--cgroup-parent=/${basename(dir)}`,
      ...QUIET,
    ],
    // A containerd that is asked why it hangs writes its stacks there.
    env: { ...process.env, TMPDIR: dir },
    stdin: "ignore",
    stdout: out,
    stderr: out,
  });
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    if (existsSync(socket) && (await answers(docker))) return child;
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error(`dockerd did not start: ${readFileSync(log, "utf8").slice(-3000)}`);
    }
    await Bun.sleep(20);
  }
}

async function answers(docker: Docker): Promise<boolean> {
  try {
    await docker.ping();
    return true;
  } catch {
    return false;
  }
}

async function removeContainers(docker: Docker): Promise<void> {
  if (!(await answers(docker))) return;
  for (const { Id } of await docker.listContainers({ all: true })) {
    await docker.getContainer(Id).remove({ force: true, v: true });
  }
}

/** @returns mount points at or below a directory, deepest first */
export function mountsBelow(dir: string): string[] {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((it) => it === dir || it.startsWith(`${dir}/`))
    .toReversed();
}

/** The daemon leaves some mounts of its own behind, such as that of its network namespaces. */
function unmountBelow(dir: string): void {
  for (const mount of mountsBelow(dir)) Bun.spawnSync(["umount", "--lazy", mount]);
}

/** Removes the directories in which the daemon kept its containers, empty by now. */
function removeCgroups(name: string): void {
  // After a crash the daemon forgets those of single containers.
  for (const dir of cgroupDirs(name))
    Bun.spawnSync(["find", dir, "-depth", "-type", "d", "-delete"]);
  for (const dir of cgroupDirs(name)) rmdirSync(dir);
}

/** @returns directories of a cgroup of that name in the hierarchies of this machine */
export function cgroupDirs(name: string): string[] {
  const top = "/sys/fs/cgroup";
  return ["", ...readdirSync(top)]
    .map((hierarchy) => join(top, hierarchy, name))
    .filter((dir) => existsSync(dir));
}

/** @returns command lines of processes that mention a text, such as a daemon's directory */
export function processesMentioning(text: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/u.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return "";
      }
    })
    .filter((line) => line.includes(text));
}

/**
 * `docker run` of the same base: the host's programs under an image that holds nothing but the links
 * to them, so that image storage is no part of the figure. Uses the daemon that is running, or one of
 * its own below a directory of the suite.
 */

import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Subprocess } from "bun";

import { command, tryCommand } from "../harness/command.ts";

/** Milliseconds for a daemon to answer. */
const DAEMON_MS = 60_000;

const DEFAULT_SOCKET = "/var/run/docker.sock";

/** A Docker daemon and the image that references run. */
export class DockerReference {
  /** Unix socket of the daemon. */
  readonly socket: string;
  readonly image: string;
  readonly #dir: string;
  readonly #daemon: Subprocess | null;

  private constructor(
    { socket, image, dir }: { socket: string; image: string; dir: string },
    daemon: Subprocess | null,
  ) {
    this.#dir = dir;
    this.socket = socket;
    this.image = image;
    this.#daemon = daemon;
  }

  /**
   * @param dir of the suite, for a daemon of its own and for the image
   * @throws {Error} that says why Docker cannot be used here
   */
  static async start(dir: string): Promise<DockerReference> {
    mkdirSync(dir, { recursive: true });
    const running = await answers(DEFAULT_SOCKET);
    const socket = running ? DEFAULT_SOCKET : join(dir, "docker.sock");
    const daemon = running ? null : await startDaemon(dir, socket);
    try {
      return new DockerReference({ socket, dir, image: await importImage(dir, socket) }, daemon);
    } catch (error) {
      await stopDaemon(daemon);
      removeDir(dir);
      throw error;
    }
  }

  /**
   * @param argv command inside the container
   * @returns microseconds of one `docker run`, from start to exit
   */
  async timeRun(argv: readonly string[]): Promise<number> {
    const mounts = programDirs().flatMap((path) => ["-v", `${path}:${path}:ro`]);
    const run = ["run", "--rm", "--network", "none", ...mounts, this.image, ...argv];
    const begin = Bun.nanoseconds();
    await command(["docker", "-H", `unix://${this.socket}`, ...run]);
    return (Bun.nanoseconds() - begin) / 1000;
  }

  /** Removes the image and ends the daemon if it is ours. */
  async close(): Promise<void> {
    await tryCommand(["docker", "-H", `unix://${this.socket}`, "rmi", "-f", this.image]);
    await stopDaemon(this.#daemon);
    removeDir(this.#dir);
  }
}

/** Directories at the root with programs and libraries that are no links. */
function programDirs(): string[] {
  return ["/usr", "/bin", "/sbin", "/lib", "/lib64"].filter(
    (path) => existsSync(path) && !lstatSync(path).isSymbolicLink(),
  );
}

async function answers(socket: string): Promise<boolean> {
  if (!existsSync(socket)) return false;
  const { exitCode } = await tryCommand(["docker", "-H", `unix://${socket}`, "version"]);
  return exitCode === 0;
}

async function startDaemon(dir: string, socket: string): Promise<Subprocess> {
  const log = Bun.file(join(dir, "dockerd.log"));
  const daemon = Bun.spawn(
    [
      "dockerd",
      `--host=unix://${socket}`,
      `--data-root=${join(dir, "data")}`,
      `--exec-root=${join(dir, "exec")}`,
      `--pidfile=${join(dir, "dockerd.pid")}`,
      // References run without a network: a bridge would touch the machine's firewall.
      "--bridge=none",
      "--iptables=false",
      "--ip6tables=false",
    ],
    { stdin: "ignore", stdout: log, stderr: log, detached: true },
  );
  const deadline = performance.now() + DAEMON_MS;
  while (!(await answers(socket))) {
    if (daemon.exitCode !== null || performance.now() > deadline) {
      await stopDaemon(daemon);
      const said = readFileSync(join(dir, "dockerd.log"), "utf8").trim().split("\n").slice(-5);
      throw new Error(`Cannot start a Docker daemon: ${said.join(" | ")}`);
    }
    await Bun.sleep(200);
  }
  return daemon;
}

async function stopDaemon(daemon: Subprocess | null): Promise<void> {
  if (daemon === null) return;
  daemon.kill("SIGTERM");
  await daemon.exited;
}

/** Removes a daemon's directory with whatever it left mounted below it. */
function removeDir(dir: string): void {
  const below = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((row) => row.split(" ")[1] ?? "")
    .filter((path) => path.startsWith(`${dir}/`));
  for (const path of below.toReversed()) Bun.spawnSync(["umount", path]);
  rmSync(dir, { recursive: true, force: true });
}

async function importImage(dir: string, socket: string): Promise<string> {
  const root = join(dir, "image");
  rmSync(root, { recursive: true, force: true });
  mkdirSync(join(root, "etc"), { recursive: true });
  writeFileSync(join(root, "etc", "passwd"), "root:x:0:0:root:/:/bin/sh\n");
  for (const path of ["/bin", "/sbin", "/lib", "/lib64"]) {
    if (existsSync(path) && lstatSync(path).isSymbolicLink()) {
      symlinkSync(readlinkSync(path), join(root, path));
    }
  }
  const tar = join(dir, "image.tar");
  await command(["tar", "-C", root, "-cf", tar, "."]);
  const image = `ol-bench-reference:${process.pid}`;
  await command(["docker", "-H", `unix://${socket}`, "import", tar, image]);
  return image;
}

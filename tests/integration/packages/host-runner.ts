/**
 * A `CommandRunner` for tests without an engine: the paths of an installer sandbox in a mount namespace
 * of its own, but none of its isolation. Needs root.
 */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandResult, CommandRunner, CommandSpec } from "../../../src/packages/contract.ts";

const SCRIPT = `
set -e
root=$1; shift
mount -t tmpfs tmpfs "$root"
for dir in bin sbin lib lib64 usr etc dev proc sys opt; do
  [ -e "/$dir" ] || continue
  mkdir "$root/$dir"
  mount --rbind "/$dir" "$root/$dir"
done
mkdir -p "$root/run/install" "$root/host" "$root/handler" "$root/packages" "$root/tmp"
mount --bind "$1" "$root/run/install"; shift
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done
shift
exec /usr/sbin/chroot "$root" "$@"
`;

/** Runs installer commands on this machine, and keeps what it was asked. */
export class HostRunner implements CommandRunner {
  readonly specs: CommandSpec[] = [];
  /** Runs before each command; may throw. */
  before: (spec: CommandSpec) => Promise<void> | void = () => {};
  /** Runs after each command, as a hostile process in its sandbox could have. */
  after: (workDir: string, mode: string) => Promise<void> | void = () => {};

  /** @returns modes of the jobs so far, such as `probe` and `resolve` */
  get modes(): readonly string[] {
    return this.specs.map(modeOf);
  }

  /** @param spec what to run */
  async run(spec: CommandSpec): Promise<CommandResult> {
    this.specs.push(spec);
    await this.before(spec);
    const dir = mkdtempSync(join(tmpdir(), "host-runner-"));
    try {
      mkdirSync(join(dir, "files"));
      mkdirSync(join(dir, "root"));
      for (const [name, text] of Object.entries(spec.files)) {
        writeFileSync(join(dir, "files", name), text);
      }
      const mounts = spec.mounts.flatMap(({ source, target }) => [source, target]);
      const child = Bun.spawn(
        [
          "unshare",
          "--mount",
          "--propagation",
          "private",
          "sh",
          "-c",
          SCRIPT,
          "sh",
          join(dir, "root"),
          join(dir, "files"),
          ...mounts,
          "--",
          ...spec.argv,
        ],
        {
          env: { ...spec.env },
          stdin: "ignore",
          stdout: Bun.file(join(dir, "out")),
          stderr: Bun.file(join(dir, "err")),
          timeout: spec.limits.runtimeMs,
          killSignal: "SIGKILL",
        },
      );
      await child.exited;
      const work = spec.mounts.find(({ target }) => target === "/host");
      if (work !== undefined) await this.after(work.source, modeOf(spec));
      return {
        outcome: child.signalCode === null ? "exited" : "timeout",
        exitCode: child.exitCode ?? -1,
        stdout: (await Bun.file(join(dir, "out")).text()).slice(-65_536),
        stderr: (await Bun.file(join(dir, "err")).text()).slice(-65_536),
      };
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
}

function modeOf(spec: CommandSpec): string {
  return (JSON.parse(spec.files["job.json"] ?? "{}") as { mode?: string }).mode ?? "";
}

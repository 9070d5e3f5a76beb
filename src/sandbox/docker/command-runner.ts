/**
 * Runs one program, such as pip, in a container of its own: as closed as a lambda's, but with the
 * host's network and directories to work in.
 */

import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type Docker from "dockerode";
import { dockerError } from "../../base/docker-error.ts";
import { DOCKER_COMMAND_WATCH_INTERVAL_MS } from "../../common/docker-limits.ts";
import {
  COMMAND_ENTRIES_MAX,
  COMMAND_OUTPUT_TAIL_BYTES,
  COMMAND_WATCH_FAILURES_MAX,
} from "../../common/limits.ts";
import type { SandboxCommand, SandboxCommandResult } from "../command.ts";
import { type ContainerSettings, containerOptions } from "./container-options.ts";
import { FirstProcess, killContainer } from "./first-process.ts";
import type { Litter } from "./litter.ts";

/** What a run needs from its engine. */
export interface DockerCommandParts {
  readonly docker: Docker;
  readonly socket: string;
  readonly settings: ContainerSettings;
  readonly uid: number;
  /** Directory of the host, private to root, for what the run is given. */
  readonly parentDir: string;
  readonly litter: Litter;
  /** Gives the user id back. */
  readonly release: () => void;
}

type Verdict = "timeout" | "output_limit";

/**
 * @param spec what to run
 * @param parts daemon, image, user
 * @returns how it ended, when every process of it is dead
 * @throws {OlError} docker_unavailable, engine_unavailable
 */
export async function runCommand(
  spec: SandboxCommand,
  parts: DockerCommandParts,
): Promise<SandboxCommandResult> {
  const { docker, socket, settings, uid } = parts;
  const dir = mkdtempSync(join(parts.parentDir, "command-"));
  const name = `ol-installer-${Bun.randomUUIDv7()}`;
  const first = new FirstProcess(uid);
  let exists = false;
  try {
    const files = writeFiles(dir, spec.files);
    for (const { source, readOnly } of spec.mounts) if (!readOnly) chownSync(source, uid, uid);
    const container = await docker.createContainer(
      containerOptions(settings, {
        name,
        role: "installer",
        subject: "installer",
        uid,
        argv: spec.argv,
        env: spec.env,
        mounts: [...spec.mounts, { source: files, target: "/run/install", readOnly: true }],
        limits: spec.limits,
        network: "host",
        scratch: !spec.mounts.some(({ target }) => target === "/host"),
        keepOutput: true,
      }),
    );
    exists = true;
    await container.start();
    return await follow(spec, container, first);
  } catch (cause) {
    throw dockerError(cause, socket, `run ${spec.argv[0] ?? "nothing"} in a container`);
  } finally {
    const release = (): void => {
      parts.release();
      rmSync(dir, { recursive: true, force: true });
    };
    // Ends what may still run in it, with the daemon or past it: nothing writes after this.
    await parts.litter.remove({ name, first, exists, release });
  }
}

function writeFiles(dir: string, files: SandboxCommand["files"]): string {
  const target = join(dir, "files");
  mkdirSync(target, { mode: 0o755 });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(target, basename(name)), text, { mode: 0o644 });
  }
  return target;
}

/** Waits for the end, or brings it about where a bound is passed. */
async function follow(
  spec: SandboxCommand,
  container: Docker.Container,
  first: FirstProcess,
): Promise<SandboxCommandResult> {
  const watch = new CommandWatch(spec, container, first);
  try {
    await container.wait({ abortSignal: watch.givenUp });
  } catch (cause) {
    if (watch.verdict === null) throw cause;
    return { outcome: watch.verdict, exitCode: -1, stdout: "", stderr: "" };
  } finally {
    watch.stop();
  }
  const { State } = await container.inspect();
  const [stdout, stderr] = await Promise.all([
    readTail(container, "stdout"),
    readTail(container, "stderr"),
  ]);
  const ended = (
    outcome: SandboxCommandResult["outcome"],
    exitCode = -1,
  ): SandboxCommandResult => ({
    outcome,
    exitCode,
    stdout,
    stderr,
  });
  if (watch.verdict !== null) return ended(watch.verdict);
  if (State.ExitCode !== 0 && State.OOMKilled) return ended("out_of_memory");
  return State.ExitCode > 128 ? ended("signalled") : ended("exited", State.ExitCode);
}

/** Kills a command that takes too long or writes too much. */
class CommandWatch {
  verdict: Verdict | null = null;
  readonly #container: Docker.Container;
  readonly #first: FirstProcess;
  readonly #givenUp = new AbortController();
  readonly #deadline: ReturnType<typeof setTimeout>;
  #isOver = false;

  constructor(spec: SandboxCommand, container: Docker.Container, first: FirstProcess) {
    this.#container = container;
    this.#first = first;
    this.#deadline = setTimeout(() => this.#end("timeout"), spec.limits.runtimeMs);
    const writable = spec.mounts.filter((it) => !it.readOnly).map((it) => it.source);
    if (writable.length > 0) void this.#watch(writable, spec.limits.scratchMaxBytes);
  }

  /** Fires when the command was ended and Docker does not say so. */
  get givenUp(): AbortSignal {
    return this.#givenUp.signal;
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#deadline);
  }

  #end(verdict: Verdict): void {
    if (this.#isOver) return;
    this.stop();
    this.verdict = verdict;
    void this.#kill();
  }

  async #kill(): Promise<void> {
    if (await killContainer(this.#container, this.#first)) return;
    this.#givenUp.abort();
  }

  async #watch(dirs: readonly string[], bytesMax: number): Promise<void> {
    let failures = 0;
    while (!this.#isOver) {
      await Bun.sleep(DOCKER_COMMAND_WATCH_INTERVAL_MS);
      try {
        const bytes = await diskUsage(["--block-size=1"], dirs);
        const entries = await diskUsage(["--inodes"], dirs);
        if (bytes > bytesMax || entries > COMMAND_ENTRIES_MAX) this.#end("output_limit");
        failures = 0;
      } catch {
        // The host has no process or descriptor to spare now; what cannot be watched for long is ended.
        failures += 1;
        if (failures >= COMMAND_WATCH_FAILURES_MAX) this.#end("output_limit");
      }
    }
  }
}

/** What `du` counts; it walks by descriptors, so that names that change under it lead nowhere. */
async function diskUsage(unit: readonly string[], dirs: readonly string[]): Promise<number> {
  const child = Bun.spawn(["du", "--summarize", "--one-file-system", ...unit, "--", ...dirs], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  const lines = (await new Response(child.stdout).text()).trim().split("\n");
  return lines.reduce((sum, line) => sum + (Number.parseInt(line, 10) || 0), 0);
}

async function readTail(container: Docker.Container, stream: "stdout" | "stderr"): Promise<string> {
  const raw: unknown = await container.logs({ [stream]: true, follow: false });
  const bytes = Buffer.isBuffer(raw) ? raw : Buffer.from(String(raw), "latin1");
  return joinLogFrames(bytes).subarray(-COMMAND_OUTPUT_TAIL_BYTES).toString("utf8");
}

/**
 * Docker puts 8 bytes before each piece of output: stream, three zeros, length as u32 BE.
 * @param bytes answer of `GET /containers/ID/logs`
 * @returns the output alone
 */
export function joinLogFrames(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at + 8 <= bytes.length;) {
    const end = at + 8 + bytes.readUInt32BE(at + 4);
    parts.push(bytes.subarray(at + 8, Math.min(end, bytes.length)));
    at = end;
  }
  return Buffer.concat(parts);
}

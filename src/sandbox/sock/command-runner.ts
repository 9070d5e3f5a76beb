/**
 * Runs one program, such as pip, in a sandbox of its own that is forked from the root zygote: as
 * closed as a lambda's, but with the host's network and directories to work in.
 */

import {
  closeSync,
  chownSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import type { Cgroup } from "../../cgroup/contract.ts";
import { OlError } from "../../common/errors.ts";
import { COMMAND_OUTPUT_TAIL_BYTES } from "../../common/limits.ts";
import {
  SOCK_STREAM,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
} from "../../sys/constants.ts";
import { connectFd } from "../../sys/connect-fd.ts";
import { socketPair } from "../../sys/socket.ts";
import type { SandboxCommand, SandboxCommandResult } from "../command.ts";
import { watchCommand } from "./command-watch.ts";
import { detachedMount, type GuestParts } from "./guest-process.ts";
import { firstHostUid } from "./uid-pool.ts";
import type { Zygote } from "./zygote.ts";

/** What a run needs from its engine. */
export interface CommandParts {
  readonly id: string;
  readonly zygote: Zygote;
  readonly guests: GuestParts;
  readonly slot: number;
  /** A directory of the host for this run alone; made and removed here. */
  readonly workDir: string;
}

/** What one run holds until it is over. */
interface Run {
  readonly parts: CommandParts;
  readonly spec: SandboxCommand;
  readonly uid: number;
  readonly cgroup: Cgroup;
  readonly stdoutFd: number;
  readonly stderrFd: number;
}

/** What is to run, in the directory of files; its other reader is `command.py`. */
const PROGRAM_FILE = "program.json";

const NO_SETUID = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

/**
 * @param spec what to run
 * @param parts zygote, cgroups, ids
 * @returns how it ended, when every process of it is dead
 * @throws {OlError} sandbox_create, pool_exhausted, internal (not every process could be ended); a
 *   SyscallError where the host is out of something
 */
export async function runCommand(
  spec: SandboxCommand,
  parts: CommandParts,
): Promise<SandboxCommandResult> {
  const { guests, workDir } = parts;
  const { cgroup, uid } = guests.loans.borrow();
  const fds: number[] = [];
  let result: SandboxCommandResult;
  let isOver = false;
  try {
    cgroup.setLimits(spec.limits);
    const filesDir = writeFiles(workDir, spec.files);
    for (const name of ["stdout", "stderr"]) fds.push(openSync(join(workDir, name), "ax+", 0o600));
    const [stdoutFd = -1, stderrFd = -1] = fds;
    result = await execute({ parts, spec, uid, cgroup, stdoutFd, stderrFd }, filesDir);
  } finally {
    isOver = (await guests.loans.giveBack({ cgroup, uid }, { again: true })).isEmpty;
    for (const fd of fds) closeSync(fd);
    rmSync(workDir, { recursive: true, force: true });
  }
  // The caller goes through what the program wrote: not while it could still be writing.
  if (isOver) return result;
  throw new OlError(
    "internal",
    `Cannot use what ${spec.argv[0]} did in a sandbox: processes of it may still run`,
    { op: "sock.command", retryable: true },
  );
}

function writeFiles(workDir: string, files: SandboxCommand["files"]): string {
  const dir = join(workDir, "files");
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(dir, basename(name)), text, { mode: 0o644 });
  }
  return dir;
}

async function execute(run: Run, filesDir: string): Promise<SandboxCommandResult> {
  const { spec, cgroup } = run;
  const before = cgroup.outOfMemoryKills();
  const report = await start(run, filesDir);
  const watch = watchCommand({
    cgroup,
    limits: spec.limits,
    writable: spec.mounts.filter(({ readOnly }) => !readOnly).map(({ source }) => source),
    outputFds: [run.stdoutFd, run.stderrFd],
    onError: run.parts.guests.onError,
  });
  const [words, exit] = await Promise.all([report.words, report.exited]);
  watch.stop();
  // Daemons that the program left behind die with pid 1; the release of the cgroup waits for them.
  const stdout = readTail(run.stdoutFd);
  const stderr = readTail(run.stderrFd);
  const [kind, value] = words.split(" ");
  if (watch.failure !== null) throw watch.failure;
  if (watch.verdict !== null) return { outcome: watch.verdict, exitCode: -1, stdout, stderr };
  if (kind === "exit" && value === "0") return { outcome: "exited", exitCode: 0, stdout, stderr };
  if (cgroup.outOfMemoryKills() > before) {
    return { outcome: "out_of_memory", exitCode: -1, stdout, stderr };
  }
  if (kind === "exit") return { outcome: "exited", exitCode: Number(value), stdout, stderr };
  if (kind === "signal" || exit.kind === "signalled") {
    return { outcome: "signalled", exitCode: -1, stdout, stderr };
  }
  const why = exit.message === "" ? words.slice(9) : exit.message;
  throw new OlError("sandbox_create", `Cannot run ${spec.argv[0]} in a sandbox: ${why}`);
}

interface Report {
  /** What pid 1 of the sandbox said: `exit N`, `signal N`, a failure of the set-up, or nothing. */
  readonly words: Promise<string>;
  readonly exited: Promise<{ readonly kind: string; readonly message: string }>;
}

async function start(run: Run, filesDir: string): Promise<Report> {
  const { spec, parts, uid, cgroup } = run;
  const mounts = [...spec.mounts, { source: filesDir, target: "/run/install", readOnly: true }];
  const [own, theirs] = socketPair(SOCK_STREAM);
  const toClose = [theirs];
  const exited = Promise.withResolvers<{ kind: string; message: string }>();
  try {
    // Not in the request: what a zygote has read stays in its memory, which later lambdas inherit.
    const program = JSON.stringify({ argv: spec.argv, env: spec.env });
    writeFileSync(join(filesDir, PROGRAM_FILE), program, { mode: 0o644 });
    const hostUid = firstHostUid(parts.slot) + uid;
    for (const mount of mounts) {
      if (!mount.readOnly) chownSync(mount.source, hostUid, hostUid);
      const attributes = mount.readOnly ? NO_SETUID | MOUNT_ATTR_RDONLY : NO_SETUID;
      toClose.push(detachedMount(mount.source, attributes));
    }
    const joinFds = cgroup.openJoinFds();
    const request = {
      op: "command",
      id: parts.id,
      uid,
      descriptors: 3 + mounts.length + joinFds.length,
      targets: mounts.map(({ target }) => target),
      scratchMaxBytes: spec.limits.scratchMaxBytes,
      fileMaxBytes: spec.limits.scratchMaxBytes,
      processesMax: spec.limits.processesMax,
    };
    const fds = [theirs, run.stdoutFd, run.stderrFd, ...toClose.slice(1), ...joinFds];
    const sent = (): void => {
      for (const fd of toClose.splice(0)) closeSync(fd);
    };
    parts.zygote.fork(request, fds, sent, exited.resolve);
  } catch (error) {
    for (const fd of toClose.splice(0)) closeSync(fd);
    closeSync(own);
    throw error;
  }
  return { words: readWords(own), exited: exited.promise };
}

async function readWords(fd: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  const { promise, resolve } = Promise.withResolvers<string>();
  const done = (): void => {
    resolve(Buffer.concat(chunks).toString());
  };
  await connectFd(fd, {
    data: (_socket, data) => {
      if (chunks.length < 64) chunks.push(data);
    },
    close: done,
    error: done,
  });
  return await promise;
}

function readTail(fd: number): string {
  const { size } = fstatSync(fd);
  const length = Math.min(size, COMMAND_OUTPUT_TAIL_BYTES);
  const buffer = Buffer.alloc(length);
  const read = readSync(fd, buffer, 0, length, size - length);
  return buffer.toString("utf8", 0, read);
}

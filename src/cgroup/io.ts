/**
 * The few operations on the cgroup file system, as one interface: the only file here that touches
 * the machine. Tests put a simulated kernel in its place to try what this machine does not have.
 */

import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  writeSync,
} from "node:fs";

import { SyscallError, errnoNameOf } from "../common/errors.ts";
import {
  CGROUP_FILE_MAX_BYTES,
  CGROUP_READ_SURE_END_BYTES,
  SYSCALL_RETRIES_MAX,
} from "../common/limits.ts";

/** Everything that this directory asks of the operating system; each method throws `SyscallError`. */
export interface CgroupIo {
  /** Whole content of a small file. */
  read(path: string): string;
  /** Writes `text` with one write call; never creates the file. */
  write(path: string, text: string): void;
  exists(path: string): boolean;
  makeDir(path: string): void;
  removeDir(path: string): void;
  /** Names of the directories directly below `path`. */
  childDirs(path: string): string[];
  /** Opens write-only, close-on-exec. */
  openWrite(path: string): number;
  /** Opens for reading and writing, close-on-exec. */
  openReadWrite(path: string): number;
  /** Reads an open file from its start. */
  readFd(fd: number): string;
  /** Writes to an open file. */
  writeFd(fd: number, text: string): void;
  close(fd: number): void;
  /** SIGKILL; a process that is gone already is no error. */
  kill(pid: number): void;
  /** Whether that process is this one or runs the same executable, as other workers and commands do. */
  isOurs(pid: number): boolean;
  /** Our own process id. */
  readonly selfPid: number;
  /** Blocks the thread; for bounded waits of microseconds. */
  pauseUs(us: number): void;
}

/** Absent from node's constants; Bun sets it unasked, which is not relied upon. */
const O_CLOEXEC = 0o2000000;

/** Run from source we are Bun, and other programs in Bun are not ours. */
const IS_COMPILED = Bun.main.startsWith("/$bunfs/");

/** An executable that was replaced while it runs is named with a suffix. */
function exeOf(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
  } catch {
    return null;
  }
}

const PAUSE_CELL = new Int32Array(new SharedArrayBuffer(4));
const READ_BUFFER = new Uint8Array(new ArrayBuffer(CGROUP_FILE_MAX_BYTES));
const DECODER = new TextDecoder();

/** Turns an error of node:fs into ours, with the call and the path. */
function asSyscallError(call: string, path: string, error: unknown): SyscallError {
  if (error instanceof SyscallError) return error;
  const errno = Math.abs((error as { errno?: number }).errno ?? 0);
  return new SyscallError(call, errno, errnoNameOf(error) ?? "EUNKNOWN", path);
}

/** Runs one call; repeats it when a signal interrupted it (the kernel does so while it reclaims memory). */
function attempt<T>(call: string, path: string, run: () => T): T {
  for (let tries = 1; ; tries += 1) {
    try {
      return run();
    } catch (error) {
      if (errnoNameOf(error) === "EINTR" && tries < SYSCALL_RETRIES_MAX) continue;
      throw asSyscallError(call, path, error);
    }
  }
}

function readAll(fd: number): string {
  let text = "";
  let offset = 0;
  for (;;) {
    const count = readSync(fd, READ_BUFFER, 0, READ_BUFFER.length, offset);
    if (count === 0) return text;
    // The files are ASCII, so a cut between two reads never splits a character.
    text += DECODER.decode(READ_BUFFER.subarray(0, count));
    offset += count;
    // cgroup.procs hands out one page at a time; only what leaves most of a page free is surely all.
    if (count < CGROUP_READ_SURE_END_BYTES) return text;
  }
}

/**
 * Kept for when this process has no descriptor left: clients may have taken all of them, and then
 * sandboxes could not even be killed to get some back.
 */
let reserveFd: number | null = null;

function openReserve(): void {
  try {
    reserveFd ??= openSync("/dev/null", constants.O_RDONLY | O_CLOEXEC);
  } catch {
    // Tried again with the next file.
  }
}

/** Opens a file for a moment: with the reserve where there is no other descriptor. */
function openBriefly(path: string, flags: number): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    if (errnoNameOf(error) !== "EMFILE" || reserveFd === null) throw error;
    closeSync(reserveFd);
    reserveFd = null;
    return openSync(path, flags);
  }
}

function withFd<T>(path: string, flags: number, run: (fd: number) => T): T {
  const fd = openBriefly(path, flags | O_CLOEXEC);
  try {
    return run(fd);
  } finally {
    closeSync(fd);
    if (reserveFd === null) openReserve();
  }
}

/** The machine's own cgroup file system. */
export const systemCgroupIo: CgroupIo = {
  read: (path) => attempt("read", path, () => withFd(path, constants.O_RDONLY, readAll)),
  write: (path, text) => {
    attempt("write", path, () =>
      withFd(path, constants.O_WRONLY, (fd) => {
        writeSync(fd, text);
      }),
    );
  },
  exists: (path) => existsSync(path),
  makeDir: (path) => attempt("mkdir", path, () => mkdirSync(path, 0o755)),
  removeDir: (path) => attempt("rmdir", path, () => rmdirSync(path)),
  childDirs: (path) =>
    attempt("readdir", path, () =>
      readdirSync(path, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name),
    ),
  openWrite: (path) => attempt("open", path, () => openSync(path, constants.O_WRONLY | O_CLOEXEC)),
  openReadWrite: (path) =>
    attempt("open", path, () => openSync(path, constants.O_RDWR | O_CLOEXEC)),
  readFd: (fd) => attempt("read", `fd ${fd}`, () => readAll(fd)),
  writeFd: (fd, text) => {
    attempt("write", `fd ${fd}`, () => writeSync(fd, text));
  },
  close: (fd) => attempt("close", `fd ${fd}`, () => closeSync(fd)),
  kill: (pid) => {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if (errnoNameOf(error) !== "ESRCH") throw asSyscallError("kill", String(pid), error);
    }
  },
  isOurs: (pid) => pid === process.pid || (IS_COMPILED && exeOf(pid) === exeOf(process.pid)),
  selfPid: process.pid,
  pauseUs: (us) => {
    Atomics.wait(PAUSE_CELL, 0, 0, us / 1000);
  },
};

/**
 * @param io where to read
 * @param path file that may not exist on this kernel
 * @returns its content, or null where there is no such file
 * @throws {SyscallError} syscall, for any other failure
 */
export function tryRead(io: CgroupIo, path: string): string | null {
  try {
    return io.read(path);
  } catch (error) {
    const name = errnoNameOf(error);
    if (name === "ENOENT" || name === "ENOTSUP" || name === "ENODEV") return null;
    throw error;
  }
}

/**
 * @param text a "key value" file such as `cpu.stat` or `memory.events`
 * @param key line to look for
 * @returns its value, or 0 where the line is missing
 */
export function field(text: string, key: string): number {
  for (const line of text.split("\n")) {
    const [name, value] = line.split(" ");
    if (name === key && value !== undefined) return Number(value);
  }
  return 0;
}

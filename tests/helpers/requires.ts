/**
 * What a test needs from the machine. A test that cannot run is skipped with a reason that is
 * printed; the test runner fails a lane with any skip where the machine should have had everything
 * (root on Debian), so a skip never hides a hole.
 */

import { test } from "bun:test";
import { closeSync, existsSync } from "node:fs";
import { release } from "node:os";

import { makeRing } from "../../src/sys/io-uring.ts";

/** Needs of a test. */
export interface Requirements {
  /** Runs as uid 0. */
  readonly root?: boolean;
  /** A Docker daemon answers on its default socket. */
  readonly docker?: boolean;
  /** Oldest Linux version, such as `"5.12"`. */
  readonly kernel?: string;
  /** The kernel and its settings let this user make an io_uring. */
  readonly ioUring?: boolean;
  /** Programs on PATH. */
  readonly programs?: readonly string[];
}

const DOCKER_SOCKET = "/var/run/docker.sock";

/** Whether version `is` is at least `wanted`, by its first two numbers. */
function atLeast(is: string, wanted: string): boolean {
  const [isMajor = 0, isMinor = 0] = is.split(".").map((part) => Number.parseInt(part, 10));
  const [major = 0, minor = 0] = wanted.split(".").map((part) => Number.parseInt(part, 10));
  return isMajor > major || (isMajor === major && isMinor >= minor);
}

/** @returns whether the kernel and its settings let this user make an io_uring */
export function hasIoUring(): boolean {
  try {
    closeSync(makeRing());
    return true;
  } catch {
    return false;
  }
}

/**
 * @param needs what a test needs
 * @returns the first need that this machine does not meet, in words, or null
 */
function missing(needs: Requirements): string | null {
  if (needs.root === true && process.getuid?.() !== 0) return "root";
  if (needs.docker === true && !existsSync(DOCKER_SOCKET)) return `Docker at ${DOCKER_SOCKET}`;
  if (needs.kernel !== undefined && !atLeast(release(), needs.kernel)) {
    return `Linux ${needs.kernel} or newer, this is ${release()}`;
  }
  if (needs.ioUring === true && !hasIoUring()) return "io_uring";
  const program = needs.programs?.find((name) => Bun.which(name) === null);
  return program === undefined ? null : `the program ${program}`;
}

/**
 * @param needs what the tests need
 * @returns `test`, or `test.skip` after saying on stderr what is missing
 */
export function requires(needs: Requirements): typeof test {
  const reason = missing(needs);
  if (reason === null) return test;
  process.stderr.write(`skipped: this machine lacks ${reason}\n`);
  return test.skip;
}

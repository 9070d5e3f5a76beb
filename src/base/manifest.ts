/**
 * What a finished base says about itself. `base.json` lies beside `rootfs/`, so nothing of it is
 * ever visible inside a sandbox, and the base dir itself can stay closed to other users (0700)
 * while the root of the sandboxes is readable (0755).
 *
 * | in the base dir | holds |
 * | --- | --- |
 * | `base.json` | this manifest; written last, so a base without it is not a base |
 * | `rootfs/` | what is mounted as `/`, read-only |
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { OlError, errnoNameOf } from "../common/errors.ts";

/** How a base came to be; the part of `--base` before the colon. */
export type BaseKind = "host" | "dir" | "tar" | "docker";

/** A directory of the host that is bound read-only (with what is mounted below it) at start. */
export interface BaseBind {
  /** Absolute path on the host. */
  readonly source: string;
  /** Absolute path inside the base; an empty directory is there already. */
  readonly target: string;
}

/** Everything an engine needs to put a root file system together. */
export interface BaseManifest {
  /** Names this base and no other: equal ids mean equal contents. */
  readonly id: string;
  readonly kind: BaseKind;
  /** The `--base` argument as it was given. */
  readonly spec: string;
  /** Absolute host path of the directory to mount as `/`. */
  readonly root: string;
  /** What comes on top of it, in this order; empty except for `host`. */
  readonly binds: readonly BaseBind[];
  /** Absolute path inside of the CPython that passed the check. */
  readonly python: string;
  /** Its version, such as `3.11.2`. */
  readonly pythonVersion: string;
  readonly libc: "glibc" | "musl" | "unknown";
  /** Version of its pip, or null where packages cannot be installed. */
  readonly pipVersion: string | null;
}

const MANIFEST_FILE = "base.json";
const ROOT_DIR = "rootfs";

/** Directories that an engine mounts something on; present in every base. */
export const MOUNT_POINTS = ["handler", "packages", "host", "tmp", "proc", "dev", "run"] as const;

/**
 * @param dir a base dir, finished or being made
 * @returns the directory that becomes `/`
 */
export function baseRootDir(dir: string): string {
  return join(resolve(dir), ROOT_DIR);
}

/**
 * @param dir base dir being made
 * @param manifest what to write; `root` follows from the dir and is left out
 */
export function writeBaseManifest(dir: string, manifest: Omit<BaseManifest, "root">): void {
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  writeFileSync(join(dir, MANIFEST_FILE), text, { mode: 0o600, flag: "wx" });
}

/**
 * @param dir a base dir made by `createBase`
 * @returns its manifest
 * @throws {OlError} base_invalid where there is none, or one that cannot be understood
 */
export function readBaseManifest(dir: string): BaseManifest {
  const file = join(resolve(dir), MANIFEST_FILE);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const state = errnoNameOf(cause) === "ENOENT" ? "it has no base.json" : String(cause);
    throw invalid(dir, `${state}, wanted a directory made by "ol new --base=…"`, cause);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid(dir, "its base.json is not JSON", cause);
  }
  if (!isManifest(value)) throw invalid(dir, "its base.json lacks or misspells a field");
  return { ...value, root: baseRootDir(dir) };
}

function invalid(dir: string, state: string, cause?: unknown): OlError {
  return new OlError("base_invalid", `Cannot use the base ${JSON.stringify(dir)}: ${state}`, {
    op: "base.read",
    ...(cause === undefined ? {} : { cause }),
  });
}

const KINDS: readonly string[] = ["host", "dir", "tar", "docker"] satisfies BaseKind[];
const LIBCS: readonly string[] = ["glibc", "musl", "unknown"] satisfies BaseManifest["libc"][];

function isManifest(value: unknown): value is Omit<BaseManifest, "root"> {
  if (typeof value !== "object" || value === null) return false;
  const it = value as Record<keyof BaseManifest, unknown>;
  return (
    typeof it.id === "string" &&
    /^[0-9a-f-]{36}$/u.test(it.id) &&
    KINDS.includes(it.kind as string) &&
    typeof it.spec === "string" &&
    Array.isArray(it.binds) &&
    it.binds.every(isBind) &&
    isAbsolute(it.python) &&
    typeof it.pythonVersion === "string" &&
    LIBCS.includes(it.libc as string) &&
    (it.pipVersion === null || typeof it.pipVersion === "string")
  );
}

function isBind(value: unknown): value is BaseBind {
  const it = value as Record<keyof BaseBind, unknown> | null;
  return typeof it === "object" && it !== null && isAbsolute(it.source) && isAbsolute(it.target);
}

const isAbsolute = (value: unknown): value is string =>
  typeof value === "string" && value.startsWith("/") && !value.includes("\0");

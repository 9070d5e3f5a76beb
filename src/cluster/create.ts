/** Making a cluster directory: put together beside its place, then renamed, so there is never half a one. */

import { randomBytes } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { errnoNameOf, OlError } from "../common/errors.ts";
import type { ConfigFile } from "../config/schema.ts";
import { fillDefaults, mergeConfig, validateConfigFile } from "../config/parse.ts";
import { writeFileAtomic } from "./atomic-file.ts";
import { tryIdentifyProcess } from "./process-identity.ts";
import { CLUSTER_DIRS, type ClusterPaths, clusterPaths } from "./paths.ts";

/** What a new cluster gets beside its directories. */
export interface CreateClusterOptions {
  /** Fills the empty base directory that it is given. */
  readonly makeBase?: (baseDir: string) => Promise<void>;
  /** Settings of the template that differ from the defaults. */
  readonly settings?: ConfigFile;
}

/** Characters of the directory's name that the cluster's name keeps. */
const CLUSTER_NAME_STEM_MAX_CHARS = 40;

/**
 * Cgroups and containers of all clusters of a machine carry the cluster's name, and directories of the
 * same name exist twice: hence a random part.
 */
function clusterNameOf(root: string): string {
  const stem = basename(root)
    .replaceAll(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, CLUSTER_NAME_STEM_MAX_CHARS);
  return `${stem === "" ? "cluster" : stem}-${randomBytes(4).toString("hex")}`;
}

function templateOf(paths: ClusterPaths, settings: ConfigFile): ConfigFile {
  const special: ConfigFile = {
    cluster_name: clusterNameOf(paths.root),
    registry_dir: paths.registry,
    sock_base_path: paths.base,
    Pkgs_dir: paths.packages,
  };
  const merged = mergeConfig(special, settings);
  return fillDefaults(validateConfigFile(merged, "the new cluster's settings"));
}

/** @returns null where nothing is there; dangling links count as something */
function tryLstat(path: string): ReturnType<typeof lstatSync> | null {
  return lstatSync(path, { throwIfNoEntry: false }) ?? null;
}

/**
 * @param dir where it goes; must not exist, its parent must
 * @param options base and settings
 * @returns its paths
 * @throws {OlError} cluster_exists, cluster_missing (no parent), cluster_invalid (cannot be written), and
 *   what `makeBase` throws; nothing is left behind then
 */
export async function createCluster(
  dir: string,
  options: CreateClusterOptions = {},
): Promise<ClusterPaths> {
  if (dir === "" || dir.includes("\0")) {
    throw new OlError("cluster_invalid", `Cannot create cluster ${JSON.stringify(dir)}: no name`);
  }
  const paths = clusterPaths(dir);
  const { root } = paths;
  const parent = dirname(root);
  const staging = join(parent, stagingName());
  try {
    refuseExisting(root);
    if (statSync(parent, { throwIfNoEntry: false })?.isDirectory() !== true) {
      throw new OlError(
        "cluster_missing",
        `Cannot create cluster ${root}: ${parent} is not a directory, make it first`,
        { op: "cluster.create" },
      );
    }
    const template = templateOf(paths, options.settings ?? {});
    removeAbandoned(parent);
    mkdirSync(staging, { mode: 0o700 });
    const staged = clusterPaths(staging);
    for (const name of CLUSTER_DIRS) mkdirSync(join(staging, name), { mode: 0o700 });
    writeFileAtomic(staged.template, `${JSON.stringify(template, null, 2)}\n`);
    await options.makeBase?.(staged.base);
    refuseExisting(root);
    renameSync(staging, root);
    return paths;
  } catch (error) {
    if (existsSync(staging)) rmSync(staging, { recursive: true, force: true });
    throw error instanceof OlError ? error : cannotCreate(root, error);
  }
}

/** Says whose it is, so that it can be told from what a process left that was killed. */
function stagingName(): string {
  const startTicks = tryIdentifyProcess(process.pid)?.startTicks ?? "0";
  return `.ol-new-${process.pid}-${startTicks}-${randomBytes(6).toString("hex")}`;
}

const STAGING_NAME = /^\.ol-new-(\d+)-(\d+)-[0-9a-f]{12}$/;

/** Removes what processes left that were killed while they made a cluster in this directory. */
function removeAbandoned(parent: string): void {
  for (const name of readdirSync(parent)) {
    const [, pid, startTicks] = STAGING_NAME.exec(name) ?? [];
    if (pid === undefined || tryIdentifyProcess(Number(pid))?.startTicks === startTicks) continue;
    const path = join(parent, name);
    // In a directory that others can write to, only what nobody else can change is safe to walk.
    const found = tryLstat(path);
    if (found?.isDirectory() === true && found.uid === process.geteuid?.()) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}

function refuseExisting(root: string): void {
  if (tryLstat(root) === null) return;
  throw new OlError(
    "cluster_exists",
    `Cannot create cluster ${root}: it exists already, name a path that does not`,
    { op: "cluster.create" },
  );
}

function cannotCreate(root: string, error: unknown): unknown {
  const name = errnoNameOf(error);
  if (name === undefined || !/^E[A-Z0-9]+$/.test(name)) return error;
  const reason = name === "ENAMETOOLONG" ? "the path is too long (ENAMETOOLONG)" : name;
  return new OlError("cluster_invalid", `Cannot create cluster ${root}: ${reason}`, {
    op: "cluster.create",
    cause: error,
  });
}

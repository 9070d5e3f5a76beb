/**
 * Root file systems for tests, made from the distribution's own packages, because no image registry
 * may be reachable. Each is made once and kept in `CACHE_DIR`.
 */

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import { CACHE_DIR } from "./paths.ts";
import { runTool } from "./run-tool.ts";

const CACHE = CACHE_DIR;

/** Debian releases, which differ in their Python. */
export type Suite = "bullseye" | "bookworm" | "trixie";

/** @returns the mirror that this machine's apt uses */
export function mirror(): string {
  const { stdout } = Bun.spawnSync(["apt-get", "indextargets", "--format", "$(SITE)"]);
  const sites = stdout.toString().split("\n");
  const site = sites.find((it) => /\/debian\/?$/u.test(it));
  if (site === undefined) throw new Error("apt on this machine has no Debian mirror configured");
  return site;
}

/**
 * @param suite which release
 * @param packages what to add to its minimal system
 * @returns path of a tar file with that root file system
 */
export function debianTarball(suite: Suite, packages: readonly string[] = ["python3"]): string {
  const file = join(CACHE, `debian-${suite}-${packages.join("-")}.tar`);
  if (existsSync(file)) return file;
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, "debootstrap-"));
  try {
    const root = join(work, "root");
    const include = `--include=${packages.join(",")}`;
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    runTool(["debootstrap", "--variant=minbase", include, suite, root, mirror()], work, env);
    for (const dir of ["var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"]) {
      rmSync(join(root, dir), { recursive: true, force: true });
    }
    runTool(["tar", "-C", root, "--one-file-system", "-cf", "root.tar", "."], work);
    renameSync(join(work, "root.tar"), file);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return file;
}

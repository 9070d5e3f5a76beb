/** Prometheus' own checker, taken out of Debian's package: installing that would start a service. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import { CACHE_DIR } from "./paths.ts";

function run(cwd: string, ...command: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(command, { cwd, stdout: "ignore", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr.toString()}`);
}

/**
 * @returns path of `promtool`, from PATH or from the cache of the machine, where it is put once
 * @throws {Error} where Debian's packages cannot be had
 */
export function promtool(): string {
  const installed = Bun.which("promtool");
  if (installed !== null) return installed;
  const dir = join(CACHE_DIR, "prometheus");
  if (!existsSync(dir)) {
    mkdirSync(CACHE_DIR, { recursive: true });
    const staging = mkdtempSync(join(CACHE_DIR, "prometheus-"));
    try {
      run(staging, "apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", "prometheus");
      const [deb = ""] = readdirSync(staging).filter((name) => name.endsWith(".deb"));
      run(staging, "dpkg-deb", "-x", deb, "root");
      renameSync(join(staging, "root"), dir);
    } finally {
      rmSync(staging, { recursive: true, force: true });
    }
  }
  return join(dir, "usr/bin/promtool");
}

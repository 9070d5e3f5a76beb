/** Debian packages that the privileged lanes need, installed where they are missing. */

import { existsSync, readFileSync } from "node:fs";

/** One need of the tests: a program or file that proves it is there, and the package that brings it. */
interface HostPackage {
  readonly name: string;
  /** Any of these programs on PATH is enough. */
  readonly programs?: readonly string[];
  /** Any of these files is enough. */
  readonly files?: readonly string[];
}

const SBIN = "/usr/local/sbin:/usr/sbin:/sbin";

const PACKAGES: readonly HostPackage[] = [
  { name: "python3", files: ["/usr/bin/python3"] },
  { name: "python3-pip", files: ["/usr/lib/python3/dist-packages/pip/__init__.py"] },
  {
    name: "python3-venv",
    files: ["/usr/share/doc/python3-venv", "/usr/share/doc/python3.11-venv"],
  },
  { name: "docker.io", programs: ["dockerd"] },
  { name: "qemu-system-x86", programs: ["qemu-system-x86_64"] },
  { name: "e2fsprogs", programs: ["mke2fs"] },
  { name: "util-linux", programs: ["findmnt"] },
  { name: "mount", programs: ["mount"] },
  { name: "procps", programs: ["ps"] },
  { name: "iproute2", programs: ["ip"] },
  { name: "wrk", programs: ["wrk"] },
  { name: "debootstrap", programs: ["debootstrap"] },
  { name: "musl-tools", programs: ["musl-gcc"] },
  { name: "linux-libc-dev", files: ["/usr/include/linux/version.h"] },
  { name: "make", programs: ["make"] },
  { name: "zsh", programs: ["zsh"] },
  { name: "fish", programs: ["fish"] },
];

const INSTALL_TIMEOUT_MS = 600_000;

/** Whether this is a Debian machine on which we may install packages. */
export function isDebianRoot(): boolean {
  if (process.getuid?.() !== 0 || Bun.which("apt-get") === null) return false;
  return /^ID(_LIKE)?=.*debian/m.test(
    existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "",
  );
}

function isPresent({ programs = [], files = [] }: HostPackage): boolean {
  const PATH = `${process.env["PATH"] ?? ""}:${SBIN}`;
  return (
    programs.some((program) => Bun.which(program, { PATH }) !== null) || files.some(existsSync)
  );
}

function apt(args: readonly string[]): boolean {
  const result = Bun.spawnSync(["apt-get", "-q", "-y", ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    stdin: "ignore",
    stdout: "inherit",
    stderr: "inherit",
    timeout: INSTALL_TIMEOUT_MS,
  });
  return result.exitCode === 0;
}

/**
 * Installs what is missing; does nothing, in a few milliseconds, where all is there.
 * @returns what is still missing, as package names
 */
export function ensureHostPackages(): string[] {
  const missing = PACKAGES.filter((item) => !isPresent(item)).map(({ name }) => name);
  if (missing.length === 0 || !isDebianRoot()) return missing;
  process.stdout.write(`Installing ${missing.join(" ")}\n`);
  const install = ["install", "--no-install-recommends", ...missing];
  // Package lists of a fresh image are absent or old: only a failure shows it.
  if (!apt(install)) void (apt(["update"]) && apt(install));
  return PACKAGES.filter((item) => !isPresent(item)).map(({ name }) => name);
}

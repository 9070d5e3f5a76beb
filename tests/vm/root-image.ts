/**
 * The VM's operating system: packages of Debian 12 unpacked into an ext4 image, and the kernel of its
 * cloud package beside it. Built once into `vm/` of `CACHE_DIR` and used read-only from then on; a change of
 * the recipe builds a new one.
 *
 * Packages are unpacked, not installed: no maintainer script runs, which takes a quarter of the time
 * of debootstrap, and nothing of the host is touched. The few files that those scripts would have made
 * are made here.
 */

import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { cachedBuild } from "../helpers/cached-build.ts";
import { runTool } from "../helpers/run-tool.ts";

/** What systemd runs in the VM, beside what its packages bring. */
const SYSTEM_DIR = join(import.meta.dir, "system");

/** Kernel 6.1 on Debian 12, older than what most development machines run. */
const KERNEL_PACKAGE = "linux-image-cloud-amd64";

/** What the first process and the suites run; apt adds what these need. */
const PACKAGES = (
  "base-files base-passwd bash coreutils dash findutils fish grep gzip hostname iproute2 libc-bin mount " +
  "procps python3 python3-pip sed systemd systemd-sysv tar util-linux wrk zsh"
).split(" ");

/** Links of a merged /usr, which packages of Debian 12 expect to be there. */
const MERGED_DIRS = ["bin", "sbin", "lib", "lib64"];

/** Sparse: what is not used takes no space on the host. */
const IMAGE_SIZE_MB = 1500;

/** Not needed inside, and a third of what there is. */
const PRUNED = ["usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/perl", "boot"];

/** What the VM boots from. */
export interface RootImage {
  readonly kernelPath: string;
  readonly imagePath: string;
}

/** As root in a directory of root's, apt cannot drop privileges, and warns about it. */
const APT = ["apt-get", "-q", "-y", "-o", "APT::Sandbox::User=root"];

/** Runs apt-get, a second time after a refresh of the package lists where they are absent or old. */
function runApt(args: readonly string[], dir: string): void {
  try {
    runTool([...APT, ...args], dir);
  } catch {
    runTool([...APT, "update"], dir);
    runTool([...APT, ...args], dir);
  }
}

/** Downloads packages with all they depend on, as if nothing were installed. */
function downloadClosure(names: readonly string[], dir: string): string[] {
  mkdirSync(join(dir, "partial"), { recursive: true });
  const status = join(dir, "status");
  writeFileSync(status, "");
  const places = ["-o", `Dir::State::status=${status}`, "-o", `Dir::Cache::archives=${dir}`];
  runApt([...places, "--no-install-recommends", "--download-only", "install", ...names], dir);
  return readdirSync(dir).filter((name) => name.endsWith(".deb"));
}

/** The kernel: the package named by the meta package, unpacked and not installed. */
function fetchKernel(dir: string): void {
  const work = join(dir, "kernel");
  mkdirSync(work);
  runApt(["download", KERNEL_PACKAGE], work);
  const [metaFile = ""] = readdirSync(work);
  const depends = runTool(["dpkg-deb", "--field", metaFile, "Depends"], work);
  const real = /linux-image-\d[\w.+-]*/.exec(depends)?.[0];
  if (real === undefined) throw new Error(`Cannot find the kernel in "${depends.trim()}"`);
  runApt(["download", real], work);
  const file = readdirSync(work).find((name) => name.startsWith(`${real}_`)) ?? "";
  runTool(["dpkg-deb", "--extract", file, "unpacked"], work);
  const boot = join(work, "unpacked/boot");
  const image = readdirSync(boot).find((name) => name.startsWith("vmlinuz-")) ?? "";
  copyFileSync(join(boot, image), join(dir, "vmlinuz"));
  rmSync(work, { recursive: true });
}

/** What maintainer scripts would have made. */
function writeSystemFiles(root: string): void {
  const etc = (name: string): string => join(root, "etc", name);
  copyFileSync(join(root, "usr/share/base-passwd/passwd.master"), etc("passwd"));
  copyFileSync(join(root, "usr/share/base-passwd/group.master"), etc("group"));
  writeFileSync(etc("nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n");
  // A secret that no sandbox may see.
  writeFileSync(etc("shadow"), "root:*:19000:0:99999:7:::\n", { mode: 0o640 });
  writeFileSync(etc("hostname"), "vm\n");
  writeFileSync(etc("hosts"), "127.0.0.1 localhost vm\n::1 localhost\n");
  writeFileSync(etc("resolv.conf"), "");
  writeFileSync(etc("machine-id"), `${"0".repeat(31)}1\n`);
  runTool(["ldconfig", "-r", root], "/");
  // Each program would compile what it imports anew: sandboxes cannot write it down.
  const python = ["/usr/lib/python3.11", "/usr/lib/python3/dist-packages"];
  runTool(["chroot", root, "python3", "-I", "-m", "compileall", "-q", ...python], "/");
}

/** The units and the program of the service that runs the suites. */
function installLane(root: string): void {
  const units = join(root, "etc/systemd/system");
  mkdirSync(units, { recursive: true });
  for (const name of readdirSync(SYSTEM_DIR)) {
    const isProgram = name.endsWith(".sh");
    const target = join(isProgram ? root : units, name);
    copyFileSync(join(SYSTEM_DIR, name), target);
    chmodSync(target, isProgram ? 0o755 : 0o644);
  }
}

/** The root file system. */
function makeRoot(dir: string): void {
  const [root, archives] = [join(dir, "root"), join(dir, "archives")];
  for (const name of MERGED_DIRS) {
    mkdirSync(join(root, "usr", name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  const unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"';
  for (const file of downloadClosure(PACKAGES, archives)) {
    runTool(["bash", "-c", `set -o pipefail; ${unpack}`, "unpack", file, root], archives);
  }
  writeSystemFiles(root);
  installLane(root);
  for (const path of PRUNED) rmSync(join(root, path), { recursive: true, force: true });
  mkdirSync(join(root, "project"));
  makeExt4(root, join(dir, "root.img"), IMAGE_SIZE_MB);
  for (const path of [root, archives]) rmSync(path, { recursive: true });
}

/**
 * @param sourceDir tree that becomes the file system
 * @param imagePath image file to write
 * @param sizeMb its size in MB; the file is sparse
 */
export function makeExt4(sourceDir: string, imagePath: string, sizeMb: number): void {
  // No journal: nobody mounts it a second time after a crash.
  const options = ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0"];
  runTool(["mke2fs", ...options, "-d", sourceDir, imagePath, `${sizeMb}M`], "/");
}

/** Everything that the image is made from. */
function recipe(): string[] {
  const parts = readdirSync(SYSTEM_DIR).toSorted();
  return [import.meta.path, ...parts.map((name) => join(SYSTEM_DIR, name))];
}

/**
 * Builds the image where it is missing.
 * @returns paths of kernel and image
 * @throws {Error} with the failing tool's words
 */
export function ensureRootImage(): RootImage {
  const dir = cachedBuild("vm", recipe(), (staging) => {
    fetchKernel(staging);
    makeRoot(staging);
  });
  return { kernelPath: join(dir, "vmlinuz"), imagePath: join(dir, "root.img") };
}

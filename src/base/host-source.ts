/**
 * The base that needs nothing but the host: its `/usr` bound read-only, under an `/etc` of our own.
 * Only what is listed here is there; of the host's state (`/home`, `/root`, `/var`, `/etc/shadow`,
 * `/opt`, `/srv` …) nothing is. `/usr` itself is shown as it is, `/usr/local` and `/usr/src` included:
 * what an operator keeps there and marks as readable by all users, lambdas can read.
 */

import { lstatSync, readFileSync, readdirSync, readlinkSync, statSync } from "node:fs";
import type { BaseBind } from "./manifest.ts";
import type { RootWriter } from "./root-writer.ts";

/** Top-level directories that are part of `/usr` on merged systems and real ones on others. */
const PROGRAM_DIRS = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] as const;

/** Files and trees of `/etc` that programs need and every user may know. */
const SHARED_ETC = [
  "ld.so.cache",
  "ld.so.conf",
  "ld.so.conf.d",
  "ssl/cert.pem",
  "ssl/openssl.cnf",
  "ca-certificates/extracted",
  "pki/tls/cert.pem",
  "pki/tls/openssl.cnf",
  "pki/ca-trust/extracted",
  "crypto-policies/back-ends",
  "localtime",
  "timezone",
  "protocols",
  "services",
  "mime.types",
  "host.conf",
  "gai.conf",
  "os-release",
] as const;

/**
 * Directories of `/etc` that are bound rather than copied: hundreds of links each, every one of which
 * costs a new inode (a second in all on ext4), and certificates that are renewed on the host.
 */
const BOUND_ETC = ["alternatives", "ssl/certs", "pki/tls/certs"] as const;

const PASSWD = `root:x:0:0:root:/tmp:/usr/sbin/nologin
lambda:x:1000:1000:lambda:/tmp:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/tmp:/usr/sbin/nologin
`;
const GROUP = "root:x:0:\nlambda:x:1000:\nnogroup:x:65534:\n";
const HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
const NSSWITCH = `passwd: files
group: files
hosts: files dns
networks: files
protocols: files
services: files
`;

/**
 * Writes the skeleton.
 * @param writer the new base's root
 * @returns what must be bound on top of it at start
 */
export function writeHostSkeleton(writer: RootWriter): BaseBind[] {
  const binds: BaseBind[] = [{ source: "/usr", target: "/usr" }];
  writer.directory("usr", 0o755);
  for (const name of PROGRAM_DIRS) {
    const stat = lstatSync(`/${name}`, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink() === true) {
      writer.symlink(name, readlinkSync(`/${name}`));
    } else if (stat?.isDirectory() === true) {
      writer.directory(name, 0o755);
      binds.push({ source: `/${name}`, target: `/${name}` });
    }
  }
  writer.directory("etc", 0o755);
  for (const path of SHARED_ETC) copyShared(`etc/${path}`, writer);
  for (const path of BOUND_ETC) {
    const stat = lstatSync(`/etc/${path}`, { throwIfNoEntry: false });
    if (stat?.isDirectory() !== true || (stat.mode & 0o005) !== 0o005) continue;
    writer.directory(`etc/${path}`, 0o755);
    binds.push({ source: `/etc/${path}`, target: `/etc/${path}` });
  }
  writer.text("etc/passwd", PASSWD);
  writer.text("etc/group", GROUP);
  writer.text("etc/nsswitch.conf", NSSWITCH);
  writeNetworkFiles(writer);
  return binds;
}

/**
 * Gives a base the files without which names are not resolved, where it does not have them:
 * images come with empty ones, which Docker fills in when it starts a container.
 * @param writer the new base's root
 */
export function writeNetworkFiles(writer: RootWriter): void {
  if (isBlank(`${writer.root}/etc/resolv.conf`)) {
    writer.text("etc/resolv.conf", readOrEmpty("/etc/resolv.conf"));
  }
  if (isBlank(`${writer.root}/etc/hosts`)) writer.text("etc/hosts", HOSTS);
}

/** Whether a file of a new base says nothing; one that is a link is taken for a dangling one. */
function isBlank(file: string): boolean {
  const stat = lstatSync(file, { throwIfNoEntry: false });
  return stat === undefined || stat.isSymbolicLink() || (stat.isFile() && stat.size === 0);
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // A host without it resolves through /etc/hosts alone; so does the base.
    return "";
  }
}

/** Copies a file or tree, leaving out whatever is not readable by all users. */
function copyShared(path: string, writer: RootWriter): void {
  const host = `/${path}`;
  const link = lstatSync(host, { throwIfNoEntry: false });
  if (link === undefined) return;
  if (link.isSymbolicLink()) {
    copyLink(path, readlinkSync(host), writer);
  } else if (link.isDirectory() && (link.mode & 0o005) === 0o005) {
    writer.directory(path, 0o755);
    for (const name of readdirSync(host)) copyShared(`${path}/${name}`, writer);
  } else if (link.isFile() && (link.mode & 0o004) !== 0) {
    copyFile(host, path, writer);
  }
}

/** A link into what the base shows stays a link; any other one becomes the file that it names. */
function copyLink(path: string, target: string, writer: RootWriter): void {
  if (target.startsWith("/usr/") || !target.startsWith("/")) {
    writer.symlink(path, target);
    return;
  }
  const stat = statSync(`/${path}`, { throwIfNoEntry: false });
  if (stat?.isFile() !== true || (stat.mode & 0o004) === 0) return;
  copyFile(`/${path}`, path, writer);
}

function copyFile(host: string, path: string, writer: RootWriter): void {
  const file = writer.file(path, 0o644, undefined);
  file.write(readFileSync(host));
  file.close();
}

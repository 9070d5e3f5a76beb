/**
 * Program that leaves the host's mount namespace, covers the directory argv[2] there, and prints
 * what it sees of both: through synchronous calls, through the thread pool, through a child.
 */

import { readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { readdir, readlink } from "node:fs/promises";

import { mount } from "../../../../src/sys/mount.ts";
import { leaveHost, OWN_NAMESPACE } from "../leave-host.ts";

/** More than the pool has threads: none is made later, by a thread that has left the host. */
const WARM_UP = 64;

const dir = process.argv[2] ?? "";
const host = readlinkSync(OWN_NAMESPACE);
await Promise.all(Array.from({ length: WARM_UP }, () => readlink(OWN_NAMESPACE)));

leaveHost();
mount("probe", dir, "tmpfs", 0, "size=64k");
writeFileSync(`${dir}/inside`, "new namespace");

const own = readlinkSync(OWN_NAMESPACE);
const child = Bun.spawnSync(["readlink", "/proc/self/ns/mnt"]).stdout.toString().trim();
const file = await Bun.file(`${dir}/inside`).text().catch(String);
const views = {
  leftTheHost: own !== host,
  synchronous: readdirSync(dir),
  child: child === own ? "new" : "host's",
  pool: (await readlink(OWN_NAMESPACE)) === host ? "host's" : "new",
  poolDir: await readdir(dir),
  poolFile: file.includes("ENOENT") ? "ENOENT" : file,
};
process.stdout.write(JSON.stringify(views));

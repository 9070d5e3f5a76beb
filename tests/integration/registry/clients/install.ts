/**
 * The S3 clients that the store is checked with, none of them written here. They are installed once
 * into the cache of the machine (`CACHE_DIR`); a test lane without them would prove nothing, so it fails then.
 */

import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CACHE_DIR } from "../../../helpers/paths.ts";
import { scaled } from "../../../helpers/wait-for.ts";

const ROOT = join(CACHE_DIR, "registry-clients");

const PYTHON_PACKAGES = ["awscli==1.46.3", "boto3==1.44.5", "moto[server]==5.2.5"];
const NPM_PACKAGES = {
  "@aws-sdk/client-s3": "3.1173.0",
  "@aws-sdk/lib-storage": "3.1173.0",
  "@aws-sdk/s3-request-presigner": "3.1164.0",
  minio: "8.0.7",
};

/** How long an installation may take, in milliseconds; for `beforeAll`. */
export const INSTALL_TIMEOUT_MS = scaled(600_000);

async function run(argv: string[], cwd: string): Promise<void> {
  const child = Bun.spawn(argv, { cwd, stdout: "ignore", stderr: "pipe" });
  const stderr = await new Response(child.stderr).text();
  if ((await child.exited) !== 0) throw new Error(`${argv.join(" ")} failed: ${stderr}`);
}

/** Installs into a directory that gets its name only once it is complete. */
async function once(name: string, install: (dir: string) => Promise<void>): Promise<string> {
  const dir = join(ROOT, name);
  if (existsSync(join(dir, "complete"))) return dir;
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  await install(dir);
  writeFileSync(join(dir, "complete.new"), "");
  renameSync(join(dir, "complete.new"), join(dir, "complete"));
  return dir;
}

/** @returns the directory with the Python clients' programs (`aws`, `python`, `moto_server`) */
export async function pythonClients(): Promise<string> {
  const dir = await once("python-1", async (target) => {
    await run(["/usr/bin/python3", "-m", "venv", target], "/");
    await run([join(target, "bin/pip"), "install", "--quiet", ...PYTHON_PACKAGES], "/");
  });
  return join(dir, "bin");
}

/** @returns a `package.json` whose directory has the npm clients in `node_modules` */
export async function npmClients(): Promise<string> {
  const dir = await once("npm-1", async (target) => {
    const manifest = { private: true, dependencies: NPM_PACKAGES };
    writeFileSync(join(target, "package.json"), JSON.stringify(manifest));
    await run(["npm", "install", "--no-audit", "--no-fund", "--silent"], target);
  });
  return join(dir, "package.json");
}

/**
 * An image registry on the loopback interface: Debian's own, unpacked and not installed, because
 * installing it would start a service on the machine.
 */

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "./free-port.ts";
import { CACHE_DIR } from "./paths.ts";
import { tempDir } from "./temp-dir.ts";
import { waitFor } from "./wait-for.ts";

/** A running registry; Docker trusts one on 127.0.0.0/8 without TLS. */
export interface DockerRegistry {
  /** `127.0.0.1:PORT`. */
  readonly address: string;
  stop(): Promise<void>;
}

function run(cmd: string[], cwd: string): void {
  const child = Bun.spawnSync(cmd, { cwd, stdout: "pipe", stderr: "pipe" });
  if (!child.success) throw new Error(`${cmd.join(" ")} failed: ${child.stderr.toString()}`);
}

/** @returns path of the program, unpacked once per machine */
function registryProgram(): string {
  const home = join(CACHE_DIR, "docker-registry");
  const program = join(home, "usr/bin/docker-registry");
  if (existsSync(program)) return program;
  mkdirSync(CACHE_DIR, { recursive: true });
  const work = mkdtempSync(join(CACHE_DIR, "docker-registry-"));
  try {
    // As root, apt hands downloads to a user of its own, who cannot write here.
    run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "docker-registry"], work);
    run(["sh", "-c", 'exec dpkg-deb --extract ./*.deb "$PWD/root"'], work);
    renameSync(join(work, "root"), home);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return program;
}

/**
 * @returns a registry without images
 * @throws {Error} where the package cannot be had
 */
export async function startDockerRegistry(): Promise<DockerRegistry> {
  const program = registryProgram();
  const temp = tempDir("ol-registry-");
  const address = `127.0.0.1:${await freePorts()}`;
  writeFileSync(
    temp.join("config.yml"),
    `version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: ${temp.join("data")}}}
http: {addr: "${address}"}
`,
  );
  const child = Bun.spawn([program, "serve", temp.join("config.yml")], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "ignore",
  });
  await waitFor(async () => {
    if (child.exitCode !== null) throw new Error(`docker-registry ended with ${child.exitCode}`);
    return await fetch(`http://${address}/v2/`).then(
      ({ ok }) => ok,
      () => false,
    );
  }, "the image registry answers");
  return {
    address,
    stop: async () => {
      child.kill("SIGTERM");
      await child.exited;
      temp.remove();
    },
  };
}

/** Images and bases in both directions: dumped from Docker, imported into it, built by it. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { lstatSync, readlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { createBase, readBaseManifest } from "../../../src/base/base.ts";
import { buildImage, importBase } from "../../../src/base/docker-image.ts";
import { OlError } from "../../../src/common/errors.ts";
import { debianTarball } from "../../helpers/base-image.ts";
import { startDockerRegistry } from "../../helpers/docker-registry.ts";
import {
  type Daemon,
  cgroupDirs,
  hasDockerd,
  mountsBelow,
  processesMentioning,
  startDockerd,
} from "../../helpers/dockerd.ts";

setDefaultTimeout(300_000);

/** For find: files with mode, size and time, links with their target. */
const LISTED = ["-type", "f", "-printf", "%p %m %s %Ts\n", "-o", "-type", "l"].concat(
  "-printf",
  "%p %l\n",
);

async function failure(promise: Promise<unknown>): Promise<OlError> {
  const error: unknown = await promise.then(
    () => new Error("it succeeded"),
    (cause: unknown) => cause,
  );
  if (error instanceof OlError) return error;
  throw error;
}

describe.skipIf(!hasDockerd())("docker images", () => {
  let daemon: Daemon;
  let dir: string;
  let image: string;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "ol-image-"));
    daemon = await startDockerd();
    image = await daemon.importTarball(debianTarball("bookworm"), "debian-python");
  });

  afterAll(async () => {
    await daemon.close();
    const home = dirname(daemon.socket);
    expect(existsSync(home)).toBe(false);
    expect(mountsBelow(home)).toEqual([]);
    expect(processesMentioning(home)).toEqual([]);
    expect(cgroupDirs(basename(home))).toEqual([]);
    rmSync(dir, { recursive: true, force: true });
  });

  const dump = (name: string, from: string, more: object = {}): Promise<void> =>
    createBase({
      spec: `docker:${from}`,
      dir: join(dir, name),
      docker: { socket: daemon.socket },
      ...more,
    });

  test("createBase() dumps an image with its modes and links and without privileges", async () => {
    const seen: string[] = [];
    await dump("dumped", image, { onProgress: (text: string) => seen.push(text) });
    const { root, kind, pythonVersion, libc, binds } = readBaseManifest(join(dir, "dumped"));
    expect({ kind, libc, binds }).toEqual({ kind: "docker", libc: "glibc", binds: [] });
    expect(pythonVersion).toStartWith("3.11.");
    expect(readlinkSync(join(root, "bin"))).toBe("usr/bin");
    expect(lstatSync(join(root, "usr/bin/python3")).isSymbolicLink()).toBe(true);
    expect(statSync(join(root, "usr/bin/bash")).mode & 0o7777).toBe(0o755);
    // mount is setuid in the distribution.
    expect(statSync(join(root, "usr/bin/mount")).mode & 0o7777).toBe(0o755);
    expect(statSync(join(root, "etc/shadow")).mode & 0o007).toBe(0);
    expect(readFileSync(join(root, "etc/hosts"), "utf8")).toContain("localhost");
    for (const name of ["proc", "dev", "run", "tmp", "handler", "packages", "host"]) {
      expect(readdirSync(join(root, name))).toEqual([]);
    }
    expect(seen).toContain(`Dumping the image ${image}`);
    expect(await daemon.docker.listContainers({ all: true })).toEqual([]);
  });

  test("createBase() pulls an image that the daemon does not have, and tells how far it is", async () => {
    const registry = await startDockerRegistry();
    const repo = `${registry.address}/lambdas/python`;
    const { docker } = daemon;
    try {
      await docker.getImage(image).tag({ repo, tag: "1" });
      const pushed = await docker.getImage(`${repo}:1`).push({ authconfig: {} });
      await new Promise<void>((resolve, reject) => {
        docker.modem.followProgress(pushed, (error) => (error ? reject(error) : resolve()));
      });
      // Without both names the layer is gone too, and is downloaded.
      await docker.getImage(`${repo}:1`).remove({ force: true });
      await docker.getImage(image).remove({ force: true });
      const seen: string[] = [];
      await dump("pulled", `${repo}:1`, { onProgress: (text: string) => seen.push(text) });
      expect(readBaseManifest(join(dir, "pulled")).pythonVersion).toStartWith("3.11.");
      expect(seen[0]).toBe(`Pulling ${repo}:1`);
      const progress = seen.filter((text) => /^Pulled \d+ of \d+ MiB$/u.test(text));
      expect(progress.length).toBeGreaterThan(1);
      expect(progress.length).toBeLessThan(20);
      expect(await docker.listContainers({ all: true })).toEqual([]);
      await docker.getImage(`${repo}:1`).tag({ repo: "debian-python", tag: "latest" });
      const absent = await failure(dump("absent-tag", `${repo}:2`));
      expect(absent.code).toBe("base_invalid");
      expect(absent.message).toContain(`${repo}:2`);
    } finally {
      await registry.stop();
    }
  });

  test("createBase() says what is wrong with an image that cannot be had", async () => {
    const error = await failure(dump("absent", "127.0.0.1:1/no/such:image"));
    expect(error.code).toBe("base_invalid");
    expect(error.message).toContain("127.0.0.1:1/no/such:image");
    expect(readdirSync(dir).filter((name) => name.includes("absent"))).toEqual([]);
  });

  test("createBase() refuses an image without a usable Python", async () => {
    const context = join(dir, "empty");
    mkdirSync(context);
    writeFileSync(join(context, "Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n");
    await buildImage(daemon.docker, daemon.socket, {
      dockerfile: { path: join(context, "Dockerfile") },
      image: "empty:latest",
      onProgress: () => undefined,
    });
    const error = await failure(dump("pythonless", "empty"));
    expect(error.code).toBe("base_invalid");
    expect(error.message).toContain("it has no python3");
    expect(readdirSync(dir).filter((name) => name.includes("pythonless"))).toEqual([]);
  });

  test("createBase() leaves nothing when it is interrupted in the middle of a dump", async () => {
    const interrupt = new AbortController();
    const running = dump("stopped", image, {
      signal: interrupt.signal,
      onProgress: (text: string) => {
        if (text.startsWith("Dumping")) setTimeout(() => interrupt.abort(new Error("enough")), 150);
      },
    });
    expect(running).rejects.toThrow("enough");
    await running.catch(() => undefined);
    expect(readdirSync(dir).filter((name) => name.includes("stopped"))).toEqual([]);
    expect(await daemon.docker.listContainers({ all: true })).toEqual([]);
  });

  test("createBase() names what to start where there is no daemon", async () => {
    const nowhere = { docker: { socket: join(dir, "nobody.sock") } };
    const error = await failure(dump("nowhere", image, nowhere));
    expect(error.code).toBe("docker_unavailable");
    expect(error.message).toContain("systemctl start docker");
    expect(readdirSync(dir).filter((name) => name.includes("nowhere"))).toEqual([]);
  });

  test("importBase() makes an image that gives the same base back", async () => {
    await createBase({ spec: `tar:${debianTarball("bookworm")}`, dir: join(dir, "first") });
    const manifest = readBaseManifest(join(dir, "first"));
    await importBase(daemon.docker, daemon.socket, { manifest, image: "again:1", whole: true });
    await dump("second", "again:1");
    // Docker puts four files of its own into /etc.
    const list = (root: string): string[] =>
      Bun.spawnSync(["find", ".", ...LISTED], { cwd: root })
        .stdout.toString()
        .split("\n")
        .filter((line) => !/^\.\/etc\/(hosts|hostname|resolv\.conf|mtab) /u.test(line))
        .toSorted();
    expect(list(readBaseManifest(join(dir, "second")).root)).toEqual(list(manifest.root));
  });

  test("buildImage() builds on an image that is there and reports a step that fails", async () => {
    const lines: string[] = [];
    await buildImage(daemon.docker, daemon.socket, {
      dockerfile: { text: `FROM ${image}\nRUN touch /made-by-run\n` },
      image: "built:latest",
      onProgress: (text) => lines.push(text),
    });
    expect(lines.join("\n")).toContain("touch /made-by-run");
    await dump("built", "built");
    expect(existsSync(join(readBaseManifest(join(dir, "built")).root, "made-by-run"))).toBe(true);
    const broken = buildImage(daemon.docker, daemon.socket, {
      dockerfile: { text: `FROM ${image}\nRUN exit 9\n` },
      image: "broken:latest",
      onProgress: () => undefined,
    });
    const error = await failure(broken);
    expect(error.code).toBe("base_invalid");
    expect(error.message).toContain("9");
  });
});

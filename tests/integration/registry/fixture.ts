/** A store on a free port with a directory of its own, and what tests of registries share. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "tar";
import { type Clock, systemClock } from "../../../src/common/clock.ts";
import { serveStore, type StoreServer } from "../../../src/registry/store/server.ts";

/** Keys of every store in these tests. */
export const KEYS = { accessKey: "TESTACCESS", secretKey: "test/secret+key" } as const;

/** A directory and what runs on it; disposed of together. */
export class RegistryFixture {
  readonly dir = mkdtempSync(join(tmpdir(), "ol-registry-it-"));
  store: StoreServer | null = null;
  #numbers = 0;

  /**
   * @param port of an earlier store, to take its place
   * @param clock that it sees; default: the machine's
   */
  async startStore(port = 0, clock: Clock = systemClock): Promise<StoreServer> {
    this.store = await serveStore(
      { dir: join(this.dir, "store"), credentials: KEYS, buckets: ["registry"], clock },
      { bind: "127.0.0.1", port },
    );
    return this.store;
  }

  /** @returns a new, empty directory */
  newDir(): string {
    const dir = join(this.dir, `d${this.#numbers++}`);
    mkdirSync(dir);
    return dir;
  }

  /**
   * @param files texts by name
   * @returns path of a bundle with them
   */
  async bundle(files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
    const source = this.newDir();
    for (const [name, text] of Object.entries(files)) writeFileSync(join(source, name), text);
    const path = `${source}.tar.gz`;
    await create({ gzip: true, file: path, cwd: source }, readdirSync(source));
    return path;
  }

  /**
   * @param dir that was pulled into
   * @returns what its handler file holds
   */
  handlerOf(dir: string): string {
    return readFileSync(join(dir, "lambda_func.py"), "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store?.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/**
 * @param promise that should fail
 * @returns what it failed with
 */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("it succeeded, a failure was expected");
    },
    (error: unknown) => error,
  );
}

// Run as a program this file is a store in a process of its own, for tests that kill it or watch its
// memory. Argument: directory.
if (import.meta.main) {
  const store = await serveStore(
    { dir: process.argv[2] as string, buckets: ["registry"], credentials: KEYS },
    { bind: "127.0.0.1", port: 0 },
  );
  process.stdout.write(`${store.url}\n`);
}

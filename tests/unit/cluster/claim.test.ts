import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { claimWorkerDir, tryFindClaimOwner } from "../../../src/cluster/claim.ts";
import { thrownBy, useTempDir } from "./temp-dir.ts";

const temp = useTempDir();
const children: Bun.Subprocess[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
});

/** Starts another process that claims `dir`; resolves once it has said how that went. */
async function holdElsewhere(dir: string): Promise<{ child: Bun.Subprocess; said: string }> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "claim-holder.ts"), dir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  return { child, said: new TextDecoder().decode(value).trim() };
}

const workerDir = (): string => join(temp(), "workers", "worker-0");

describe("claimWorkerDir()", () => {
  test("refuses a second claim in another process and names the holder", async () => {
    const claim = claimWorkerDir(workerDir());
    expect((await holdElsewhere(workerDir())).said).toBe("worker_start");
    claim.release();
    const { child, said } = await holdElsewhere(workerDir());
    expect(said).toBe("held");
    const error = await thrownBy(() => claimWorkerDir(workerDir()));
    expect(error).toMatchObject({
      code: "worker_start",
      message: expect.stringContaining(`process ${child.pid} runs a worker in it`),
    });
  });

  test("refuses a second claim in the same process", async () => {
    const claim = claimWorkerDir(workerDir());
    expect(await thrownBy(() => claimWorkerDir(workerDir()))).toMatchObject({
      code: "worker_start",
    });
    claim.release();
  });

  test("gets the directory of a process that was killed with SIGKILL", async () => {
    const { child } = await holdElsewhere(workerDir());
    child.kill("SIGKILL");
    await child.exited;
    const claim = claimWorkerDir(workerDir());
    expect(tryFindClaimOwner(workerDir())?.pid).toBe(process.pid);
    claim.release();
  });

  test("lets exactly one of several starters win", async () => {
    const outcomes = await Promise.all([1, 2, 3, 4].map(() => holdElsewhere(workerDir())));
    const said = outcomes.map((outcome) => outcome.said).toSorted();
    expect(said).toEqual(["held", "worker_start", "worker_start", "worker_start"]);
  });

  test("still refuses after the directory itself was cleared", async () => {
    await holdElsewhere(workerDir());
    mkdirSync(workerDir(), { recursive: true });
    rmSync(workerDir(), { recursive: true });
    expect(await thrownBy(() => claimWorkerDir(workerDir()))).toMatchObject({
      code: "worker_start",
    });
  });

  test("says which file is in the way when the lock cannot be taken", async () => {
    mkdirSync(`${workerDir()}.lock`, { recursive: true });
    expect(await thrownBy(() => claimWorkerDir(workerDir()))).toMatchObject({
      code: "worker_start",
      message: expect.stringContaining("worker-0.lock cannot be locked"),
    });
    writeFileSync(join(temp(), "file"), "");
    expect(await thrownBy(() => claimWorkerDir(join(temp(), "file", "worker-0")))).toMatchObject({
      code: "worker_start",
    });
  });

  test("release() is idempotent and leaves no owner", () => {
    const claim = claimWorkerDir(workerDir());
    claim.release();
    claim.release();
    expect(existsSync(`${workerDir()}.owner`)).toBe(false);
  });
});

describe("tryFindClaimOwner()", () => {
  test("finds the holder and nobody once it is gone", async () => {
    expect(tryFindClaimOwner(workerDir())).toBeNull();
    const { child } = await holdElsewhere(workerDir());
    expect(tryFindClaimOwner(workerDir())?.pid).toBe(child.pid);
    child.kill("SIGKILL");
    await child.exited;
    expect(tryFindClaimOwner(workerDir())).toBeNull();
  });

  test("does not believe an owner file without the lock", () => {
    const claim = claimWorkerDir(workerDir());
    const owner = tryFindClaimOwner(workerDir());
    claim.release();
    // A living process, named correctly, that does not hold the lock.
    const { pid, startTicks, bootId } = owner ?? { pid: 0, startTicks: "", bootId: "" };
    writeFileSync(`${workerDir()}.owner`, `${pid} ${startTicks} ${bootId}\n`);
    expect(tryFindClaimOwner(workerDir())).toBeNull();
  });
});

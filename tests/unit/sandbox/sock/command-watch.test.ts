import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { COMMAND_WATCH_FAILURES_MAX } from "../../../../src/common/limits.ts";
import { watchCommand, type WatchedCommand } from "../../../../src/sandbox/sock/command-watch.ts";
import { deletedFilesUsage } from "../../../../src/sandbox/sock/deleted-files.ts";
import { treeUsage } from "../../../../src/sandbox/sock/tree-usage.ts";
import { tempDir, type TempDir } from "../../../helpers/temp-dir.ts";
import { waitFor } from "../../../helpers/wait-for.ts";

const MIB = 1024 * 1024;
const NEVER_MS = 1_000_000;

let temp: TempDir;
beforeEach(() => {
  temp = tempDir("ol-watch-");
});
afterEach(() => {
  temp.remove();
});

describe("watchCommand()", () => {
  let stop: () => void = () => {};
  afterEach(() => {
    stop();
  });

  /** A command whose kills fail as often as told. */
  function watched(more: Partial<WatchedCommand>, refusals = 0) {
    const seen = { kills: 0, errors: [] as unknown[] };
    const watch = watchCommand({
      cgroup: {
        killAll: () => {
          seen.kills += 1;
          if (seen.kills <= refusals) throw new Error("EMFILE");
        },
        pids: () => [],
      },
      limits: { runtimeMs: NEVER_MS, scratchMaxBytes: MIB },
      writable: [temp.path],
      outputFds: [],
      intervalMs: 1,
      onError: (error) => seen.errors.push(error),
      ...more,
    });
    stop = () => watch.stop();
    return { watch, seen };
  }

  test("kills again when the host refused to, also where a timer began it", async () => {
    const limits = { runtimeMs: 1, scratchMaxBytes: MIB };
    const { watch, seen } = watched({ limits }, 3);
    await waitFor(() => seen.kills > 3, "a kill succeeded");
    expect(watch.verdict).toBe("timeout");
    expect(seen.errors).toHaveLength(3);
  });

  test("goes on watching after a look that the host refused", async () => {
    let refusals = COMMAND_WATCH_FAILURES_MAX - 1;
    const cgroup = {
      kills: 0,
      killAll: () => {
        cgroup.kills += 1;
      },
      pids: () => {
        if (refusals > 0) {
          refusals -= 1;
          throw new Error("EMFILE");
        }
        return [];
      },
    };
    const { watch, seen } = watched({ cgroup });
    await waitFor(() => refusals === 0, "the host has refused");
    expect(cgroup.kills).toBe(0);
    writeFileSync(temp.join("large"), Buffer.alloc(2 * MIB));
    await waitFor(() => cgroup.kills > 0, "it was killed");
    expect(watch.verdict).toBe("output_limit");
    expect(seen.errors).toHaveLength(COMMAND_WATCH_FAILURES_MAX - 1);
  });

  test("ends a command that it cannot watch", async () => {
    const { watch, seen } = watched({ outputFds: [1_000_000] });
    await waitFor(() => seen.kills > 0, "it was killed");
    expect(watch.failure?.message).toContain("Cannot watch");
    expect(watch.verdict).toBeNull();
  });

  test("touches nothing after the end", async () => {
    const limits = { runtimeMs: 2, scratchMaxBytes: MIB };
    const { watch, seen } = watched({ limits, outputFds: [1_000_000] });
    watch.stop();
    let turns = 0;
    await waitFor(() => ++turns > 10, "some looks would have happened");
    expect(seen).toEqual({ kills: 0, errors: [] });
    expect(watch.verdict).toBeNull();
  });
});

describe("treeUsage()", () => {
  const usageOf = async (dir: string) => {
    const usage = { bytes: 0, entries: 0, isTooDeep: false };
    await treeUsage(dir, () => false, usage);
    return usage;
  };

  test("counts allocated bytes and entries, and follows no link", async () => {
    mkdirSync(temp.join("a/b"), { recursive: true });
    writeFileSync(temp.join("a/b/file"), Buffer.alloc(MIB));
    symlinkSync("/usr", temp.join("a/link"));
    const { bytes, entries, isTooDeep } = await usageOf(temp.path);
    expect(bytes).toBeGreaterThanOrEqual(MIB);
    expect(bytes).toBeLessThan(2 * MIB);
    expect({ entries, isTooDeep }).toEqual({ entries: 4, isTooDeep: false });
    renameSync(temp.join("a/link"), temp.join("top"));
    expect((await usageOf(temp.join("top"))).entries).toBe(0);
  });

  test("says where something lies too deep to be counted", async () => {
    const deep = Array.from({ length: 70 }, () => "d").join("/");
    mkdirSync(temp.join(deep), { recursive: true });
    writeFileSync(temp.join(deep, "file"), "");
    expect((await usageOf(temp.path)).isTooDeep).toBe(true);
  });

  test("is no error of a directory that is gone", async () => {
    expect(await usageOf(temp.join("none"))).toEqual({ bytes: 0, entries: 0, isTooDeep: false });
  });
});

test("deletedFilesUsage() counts files without a name, each once, and no others", async () => {
  const usage = { bytes: 0, entries: 0, isTooDeep: false };
  const script =
    "exec 3>gone 4>&3 5>kept; dd if=/dev/zero bs=1M count=3 >&3 2>&-; dd if=/dev/zero bs=1M count=9 >&5 2>&-; rm gone; echo ready; read end";
  const child = Bun.spawn(["sh", "-c", script], {
    cwd: temp.path,
    stdin: "pipe",
    stdout: "pipe",
  });
  try {
    const reader = child.stdout.getReader();
    await reader.read();
    await deletedFilesUsage([child.pid, 4_194_303], () => false, usage);
    expect(usage.entries).toBe(1);
    expect(usage.bytes).toBeGreaterThanOrEqual(3 * MIB);
    expect(usage.bytes).toBeLessThan(4 * MIB);
  } finally {
    child.kill();
    await child.exited;
  }
});

/**
 * Ends a command that takes too long, writes too much, or makes too many files. The host may refuse
 * what a look or a kill needs (no descriptors, no memory): then it is tried again, because a command
 * that nobody watches could fill the disk; and one that cannot be watched for long is ended.
 */

import { fstatSync } from "node:fs";
import type { Cgroup } from "../../cgroup/contract.ts";
import { OlError } from "../../common/errors.ts";
import {
  COMMAND_ENTRIES_MAX,
  COMMAND_WATCH_FAILURES_MAX,
  COMMAND_WATCH_INTERVAL_MS,
  OUTPUT_MAX_BYTES,
} from "../../common/limits.ts";
import type { SandboxLimits } from "../contract.ts";
import { deletedFilesUsage } from "./deleted-files.ts";
import { treeUsage, type TreeUsage } from "./tree-usage.ts";

/** What is watched. */
export interface WatchedCommand {
  readonly cgroup: Pick<Cgroup, "killAll" | "pids">;
  readonly limits: Pick<SandboxLimits, "runtimeMs" | "scratchMaxBytes">;
  /** Directories of the host that it can write. */
  readonly writable: readonly string[];
  /** What it prints into; open until `stop`. */
  readonly outputFds: readonly number[];
  /** Told of each refusal of the host. */
  readonly onError: (error: unknown) => void;
  /** Between two looks, in milliseconds; default `COMMAND_WATCH_INTERVAL_MS`. */
  readonly intervalMs?: number;
}

/** The watch over one command. */
export interface CommandWatch {
  /** Why it was ended, null where it was not. */
  readonly verdict: "timeout" | "output_limit" | null;
  /** Set where it was ended because it could not be watched. */
  readonly failure: OlError | null;
  /** Ends the watch; afterwards nothing of the command is touched. */
  stop(): void;
}

class Watch implements CommandWatch {
  verdict: CommandWatch["verdict"] = null;
  failure: OlError | null = null;
  readonly #command: WatchedCommand;
  readonly #deadline: ReturnType<typeof setTimeout>;
  #isStopped = false;
  #failures = 0;

  constructor(command: WatchedCommand) {
    this.#command = command;
    this.#deadline = setTimeout(() => {
      this.#end("timeout");
    }, command.limits.runtimeMs);
    void this.#watch();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#deadline);
  }

  async #watch(): Promise<void> {
    const { intervalMs = COMMAND_WATCH_INTERVAL_MS, onError } = this.#command;
    for (;;) {
      await Bun.sleep(intervalMs);
      // Over meanwhile: the descriptors may be closed, or belong to somebody else.
      if (this.#isStopped) return;
      if (this.#isEnding) {
        this.#kill();
        continue;
      }
      try {
        if (await this.#isTooMuch()) this.#end("output_limit");
        this.#failures = 0;
      } catch (error) {
        onError(error);
        this.#failures += 1;
        if (this.#failures < COMMAND_WATCH_FAILURES_MAX) continue;
        this.failure = new OlError("internal", "Cannot watch what a command writes", {
          op: "sock.command",
          cause: error,
          retryable: true,
        });
        this.#kill();
      }
    }
  }

  get #isEnding(): boolean {
    return this.verdict !== null || this.failure !== null;
  }

  #end(verdict: "timeout" | "output_limit"): void {
    if (this.#isStopped || this.#isEnding) return;
    this.verdict = verdict;
    this.#kill();
  }

  /** What it cannot do now, the next look does. */
  #kill(): void {
    try {
      this.#command.cgroup.killAll();
    } catch (error) {
      this.#command.onError(error);
    }
  }

  async #isTooMuch(): Promise<boolean> {
    const { cgroup, limits, writable, outputFds } = this.#command;
    const printed = outputFds.reduce((sum, fd) => sum + fstatSync(fd).size, 0);
    if (printed > OUTPUT_MAX_BYTES) return true;
    const isOver = (usage: TreeUsage): boolean =>
      this.#isStopped ||
      usage.isTooDeep ||
      usage.bytes > limits.scratchMaxBytes ||
      usage.entries > COMMAND_ENTRIES_MAX;
    const usage: TreeUsage = { bytes: 0, entries: 0, isTooDeep: false };
    for (const dir of writable) {
      await treeUsage(dir, isOver, usage);
      if (isOver(usage)) return !this.#isStopped;
    }
    await deletedFilesUsage(cgroup.pids(), isOver, usage);
    return !this.#isStopped && isOver(usage);
  }
}

/**
 * @param command what to watch, from now on
 * @returns the watch, to be stopped when the command is over
 */
export function watchCommand(command: WatchedCommand): CommandWatch {
  return new Watch(command);
}

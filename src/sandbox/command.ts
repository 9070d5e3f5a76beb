/** A program that an engine runs in a sandbox of its own; the shape of `CommandRunner` in `packages/contract.ts`. */

import type { SandboxLimits } from "./contract.ts";

/** What to run; the fields mean what `CommandSpec` says. */
export interface SandboxCommand {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: readonly {
    readonly source: string;
    readonly target: string;
    readonly readOnly: boolean;
  }[];
  readonly limits: SandboxLimits;
  readonly files: Readonly<Record<string, string>>;
}

/** How it ended; the fields mean what `CommandResult` says. */
export interface SandboxCommandResult {
  readonly outcome: "exited" | "signalled" | "timeout" | "out_of_memory" | "output_limit";
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

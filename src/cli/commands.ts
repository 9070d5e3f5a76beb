/**
 * Which commands there are. This table is all that start-up loads; a command's module, and what that
 * needs, is loaded when the command is used.
 */

import type { CommandDef } from "citty";

/** One command as the table knows it. */
export interface CommandEntry {
  /** For the overview: one line, no period. */
  readonly summary: string;
  /** Left out of the overview: started by other commands only. */
  readonly hidden?: true;
  /** Loads its module; the default export is a citty command whose `run` may return an exit status. */
  load(): Promise<{ readonly default: AnyCommand }>;
}

// oxlint-disable typescript/no-explicit-any -- citty's CommandDef is invariant in its arguments
/** A citty command whose arguments are not known here. */
export type AnyCommand = CommandDef<any>;
// oxlint-enable typescript/no-explicit-any

/** Commands by name, in the order of the overview. A Map: names such as `toString` are not commands. */
export const COMMANDS: ReadonlyMap<string, CommandEntry> = new Map<string, CommandEntry>([
  ["new", { summary: "Create a cluster directory", load: () => import("./new.ts") }],
  ["workers", { summary: "Start workers in the background", load: () => import("./workers.ts") }],
  [
    "worker-exec",
    { summary: "Run one worker in the foreground", load: () => import("./worker-exec.ts") },
  ],
  ["status", { summary: "Show the workers and containers", load: () => import("./status.ts") }],
  ["kill", { summary: "Stop everything of a cluster", load: () => import("./kill.ts") }],
  ["setconf", { summary: "Change a cluster's settings", load: () => import("./setconf.ts") }],
  ["invoke", { summary: "Call a lambda", load: () => import("./invoke.ts") }],
  ["logs", { summary: "Show what a lambda printed", load: () => import("./logs.ts") }],
  ["upload", { summary: "Upload a lambda to the registry", load: () => import("./upload.ts") }],
  ["lambdas", { summary: "List the registry's lambdas", load: () => import("./lambdas.ts") }],
  ["remove", { summary: "Delete a lambda from the registry", load: () => import("./remove.ts") }],
  [
    "registry",
    {
      summary: "Start the handler store of a cluster in the background",
      load: () => import("./registry.ts"),
    },
  ],
  [
    "registry-exec",
    {
      summary: "Run the handler store in the foreground",
      hidden: true,
      load: () => import("./registry-exec.ts"),
    },
  ],
  ["image", { summary: "Make the base image for Docker", load: () => import("./image.ts") }],
  [
    "doctor",
    { summary: "Examine this host and name what it lacks", load: () => import("./doctor.ts") },
  ],
  ["completion", { summary: "Print a shell completion", load: () => import("./completion.ts") }],
]);

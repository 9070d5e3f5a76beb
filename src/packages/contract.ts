/**
 * What the packages layer needs from whoever can run a command in isolation (the engine), and what
 * it gives to the lambda layer.
 */

import type { PackageDir, SandboxLimits } from "../sandbox/contract.ts";

/** One directory of the host inside an installer sandbox. */
export interface CommandMount {
  readonly source: string;
  /** `/handler`, `/packages` or `/host`. */
  readonly target: "/handler" | "/packages" | "/host";
  readonly readOnly: boolean;
}

/** A command to run in a sandbox of its own, with the network of the host. */
export interface CommandSpec {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: readonly CommandMount[];
  readonly limits: SandboxLimits;
  /** Files shown read-only below `/run/install/`, by file name: pip.conf, certificates. */
  readonly files: Readonly<Record<string, string>>;
}

/** How it ended. */
export interface CommandResult {
  readonly outcome: "exited" | "signalled" | "timeout" | "out_of_memory" | "output_limit";
  readonly exitCode: number;
  /** Last part of stdout and of stderr, bounded. */
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs commands in sandboxes; implemented by the engines. When `run` settles, every process of the
 * sandbox is dead: what it wrote is looked at only then.
 */
export interface CommandRunner {
  run(spec: CommandSpec): Promise<CommandResult>;
}

/** One module that a lambda's packages make importable, with all that importing it may load. */
export interface ImportUnit {
  /** Dotted name, such as `pandas` or `matplotlib.pyplot`. */
  readonly module: string;
  /**
   * The distribution that provides it first, then everything that it depends on, sorted: entries
   * of `PackageDir.dir`. Two units are the same exactly where module and dirs are.
   */
  readonly dirs: readonly string[];
  /** Whether the lambda named it (or its distribution), rather than a dependency bringing it. */
  readonly declared: boolean;
  /** Whether the distribution's metadata name it, as opposed to the lambda's own `import:` part. */
  readonly standard: boolean;
}

/** The packages of one lambda version, installed. */
export interface InstalledPackages {
  /** For `sys.path`, in order; the order depends on nothing but the set. */
  readonly dirs: readonly PackageDir[];
  /** Modules worth pre-importing: what the lambda declared, by import name. */
  readonly imports: readonly string[];
  /** What zygotes may import for it: the import cache shares zygotes between lambdas by these. */
  readonly units: readonly ImportUnit[];
}

/** Figures of the install cache since the worker started. */
export interface InstallStats {
  /** Calls of `ensure` that found everything resolved and installed; those without packages do not count. */
  readonly hits: number;
  /** Calls for which pip ran, or that waited for a run of another call. */
  readonly misses: number;
  /** Installations that failed, however many calls waited for them. */
  readonly failures: number;
}

/** The install cache. */
export interface PackageInstaller {
  /**
   * Reads `packages.txt` and `requirements.txt` of a pulled version and installs what is missing. What was
   * installed before is answered from memory by one look-up: the time until it settles is the stage's.
   * @param codeId `<lambda>/…`: installations take turns by lambda
   * @throws {OlError} package_install, with pip's own words
   */
  ensure(codeDir: string, codeId: string): Promise<InstalledPackages>;
}

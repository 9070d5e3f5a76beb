/** Runs pip in installer sandboxes and puts into words how that went wrong. */

import { join } from "node:path";
import { OlError } from "../common/errors.ts";
import { INSTALL_MESSAGE_MAX_CHARS, PIP_REPORT_MAX_BYTES } from "../common/package-limits.ts";
import type { SandboxLimits } from "../sandbox/contract.ts";
import type { CommandResult, CommandRunner } from "./contract.ts";
import { tryReadUntrusted } from "./untrusted-file.ts";
import installerSource from "./installer.py" with { type: "text" };
import { collectPipSettings, INSTALL_FILES_DIR, type PipSettings } from "./pip-settings.ts";
import { parseReport, type Distribution } from "./report.ts";

/** What `Pip` needs. */
export interface PipOptions {
  readonly runner: CommandRunner;
  /** `installer_limits`. */
  readonly limits: SandboxLimits;
  /** `pip_mirror`: the only place that packages come from; null: those of the host's pip configuration. */
  readonly mirror: string | null;
  /** The base's Python, as a path inside the base. */
  readonly python: string;
  /** The worker's environment, which holds part of the host's pip configuration. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

interface Job {
  readonly mode: "probe" | "resolve" | "wheels" | "source";
  readonly requirements: readonly string[];
  /** Distributions in the order in which they go to `out/<index>`. */
  readonly names: readonly string[];
}

/** `installer.py` exits with it where the base has no pip. */
const EXIT_NO_PIP = 90;

/** Same for every run: nothing may ask, and nothing of the host's habits may change where files go. */
const FIXED_ENV = {
  PATH: "/usr/local/bin:/usr/bin:/bin",
  LANG: "C.UTF-8",
  HOME: "/host/home",
  TMPDIR: "/host/tmp",
  PIP_BREAK_SYSTEM_PACKAGES: "1",
  PIP_DISABLE_PIP_VERSION_CHECK: "1",
  PIP_NO_COLOR: "1",
  PIP_NO_INPUT: "1",
  PIP_PROGRESS_BAR: "off",
  PIP_REQUIRE_VIRTUALENV: "0",
  PIP_ROOT_USER_ACTION: "ignore",
  PIP_USER: "0",
};

const ENDINGS: Readonly<Record<CommandResult["outcome"], string>> = {
  exited: "pip failed",
  signalled: "pip was killed by a signal",
  timeout: "it took longer than installer_limits.runtime_sec",
  out_of_memory: "it needed more memory than installer_limits.mem_mb",
  output_limit: "it wrote more than installer_limits.scratch_mb",
};

/** Why it could not reach an index: to pip a warning, and the packages there simply do not exist then. */
const CONNECTION_BROKEN = /^\s*WARNING: Retrying .* (after connection broken by .*)$/;

function connectionTrouble(lines: readonly string[]): string[] {
  const last = lines.findLast((line) => CONNECTION_BROKEN.test(line));
  const words = last === undefined ? undefined : CONNECTION_BROKEN.exec(last)?.[1];
  // Where in its memory pip had the connection is of no use to anybody.
  return words === undefined ? [] : [`given up ${words.replace(/<\S+ object at 0x\w+>: /, "")}`];
}

/**
 * @param result how pip ended
 * @returns its own last words: errors with what belongs to them, no warnings and notices but for the
 *   last one that a connection broke
 */
export function pipWords(result: CommandResult): string {
  const said = (result.stderr.trim() === "" ? result.stdout : result.stderr).split(/\r?\n/);
  const lines = said.filter(
    (line) => line.trim() !== "" && !/^\s*(?:WARNING|DEPRECATION|\[notice\])/.test(line),
  );
  const first = lines.findIndex((line) => /^\s*error:/i.test(line));
  const errors = first < 0 ? lines : lines.slice(first);
  const isTold = errors.some((line) => line.includes("Max retries exceeded"));
  const words = [...(isTold ? [] : connectionTrouble(said)), ...errors].join("\n").trim();
  if (words.length <= INSTALL_MESSAGE_MAX_CHARS) return words;
  return `…${words.slice(-INSTALL_MESSAGE_MAX_CHARS)}`;
}

/** pip in installer sandboxes of one base. */
export class Pip {
  readonly #options: PipOptions;
  #environment: Promise<string> | null = null;

  /** @param options what to run it with */
  constructor(options: PipOptions) {
    this.#options = options;
  }

  /**
   * @returns what beside an artifact decides what installing it gives: Python, ABI and platform of the base
   * @throws {OlError} package_install
   */
  environment(): Promise<string> {
    this.#environment ??= this.#probe().catch((error: unknown) => {
      this.#environment = null;
      throw error;
    });
    return this.#environment;
  }

  /** @returns what beside the requirements decides what they come down to: the indexes in use */
  indexes(): string {
    return this.#settings().identity;
  }

  /**
   * @param requirements as pip takes them
   * @param workDir empty, for the sandbox
   * @returns the distributions that they come down to
   * @throws {OlError} package_install
   */
  async resolve(
    requirements: readonly string[],
    workDir: string,
  ): Promise<readonly Distribution[]> {
    const environment = await this.environment();
    const what = shorten(requirements);
    await this.#run({ mode: "resolve", requirements, names: [] }, workDir, what);
    const report = await tryReadUntrusted(join(workDir, "report.json"), PIP_REPORT_MAX_BYTES);
    if (report === null) {
      throw new OlError("package_install", `Cannot install ${what}: pip left no report`, {
        op: "packages.resolve",
        retryable: true,
      });
    }
    return parseReport(report, environment);
  }

  /**
   * Installs wheels, any number at once: no code of theirs runs.
   * @param distributions any number of kind `wheel`, or one alone of kind `source`
   * @param workDir empty; afterwards `out/<index>` holds each
   * @throws {OlError} package_install
   */
  async install(distributions: readonly Distribution[], workDir: string): Promise<void> {
    const requirements = distributions.map(
      ({ name, version, hash }) => `${name}==${version} --hash=${hash}`,
    );
    const mode = distributions[0]?.kind === "source" ? "source" : "wheels";
    const what = shorten(distributions.map(({ name, version }) => `${name}==${version}`));
    await this.#run(
      { mode, requirements, names: distributions.map(({ name }) => name) },
      workDir,
      what,
    );
  }

  #settings(): PipSettings {
    return collectPipSettings(this.#options.env, this.#options.mirror);
  }

  async #probe(): Promise<string> {
    const job: Job = { mode: "probe", requirements: [], names: [] };
    const result = await this.#run(job, null, "packages");
    try {
      const { tag, abi, platform } = JSON.parse(result.stdout) as Record<string, string>;
      return `${tag} ${abi} ${platform}`;
    } catch (cause) {
      throw new OlError(
        "package_install",
        "Cannot install packages: the base's Python says nothing",
        {
          op: "packages.probe",
          cause,
        },
      );
    }
  }

  async #run(job: Job, workDir: string | null, what: string): Promise<CommandResult> {
    const { runner, limits, python } = this.#options;
    const settings = this.#settings();
    const result = await runner.run({
      argv: [python, "-I", `${INSTALL_FILES_DIR}/installer.py`],
      env: { ...FIXED_ENV, ...settings.env },
      mounts:
        workDir === null
          ? []
          : [{ source: workDir, target: "/host", readOnly: false }, ...settings.mounts],
      limits,
      files: {
        ...settings.files,
        "installer.py": installerSource,
        "job.json": JSON.stringify({ mode: job.mode, names: job.names }),
        "requirements.txt": `${job.requirements.join("\n")}\n`,
      },
    });
    if (result.outcome === "exited" && result.exitCode === 0) return result;
    throw failure(result, what);
  }
}

function failure(result: CommandResult, what: string): OlError {
  const details = { outcome: result.outcome, exitCode: result.exitCode };
  if (result.outcome === "exited" && result.exitCode === EXIT_NO_PIP) {
    return new OlError(
      "package_install",
      `Cannot install ${what}: the base has no pip, install it there (Debian and Ubuntu: apt-get install python3-pip)`,
      { op: "packages.pip", details },
    );
  }
  const words = pipWords(result);
  return new OlError(
    "package_install",
    `Cannot install ${what}: ${ENDINGS[result.outcome]}${words === "" ? "" : `\n${words}`}`,
    { op: "packages.pip", details, retryable: true },
  );
}

/** Names for a message: a lambda may have hundreds. */
function shorten(names: readonly string[]): string {
  const shown = names.slice(0, 10).join(", ");
  return names.length > 10 ? `${shown} and ${names.length - 10} more` : shown;
}

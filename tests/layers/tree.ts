/** A copy of the source tree in which layers are switched off: the checkout itself is never touched. */

import { cpSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { PROJECT_DIR } from "../helpers/paths.ts";
import { type GroupResult, runGroup } from "../lanes/process-group.ts";
import { type Edit, type NamedTest, occurrences, patternOf } from "./layer.ts";

/** Not part of the source. */
const LEFT_OUT = ["node_modules", "bin", "dist", ".git", ".cache"];

const BUILD_TIMEOUT_MS = 60_000;
const TEST_TIMEOUT_MS = 120_000;

/** One copy, used by one test after the other. */
export class Tree {
  readonly #dir: string;
  readonly #tempDir: string;

  /**
   * @param dir where it is put; must not exist
   * @param tempDir `TMPDIR` of what runs in it
   */
  constructor(dir: string, tempDir: string) {
    this.#dir = dir;
    this.#tempDir = tempDir;
    for (const name of readdirSync(PROJECT_DIR)) {
      if (LEFT_OUT.includes(name)) continue;
      cpSync(join(PROJECT_DIR, name), join(dir, name), { recursive: true });
    }
    symlinkSync(join(PROJECT_DIR, "node_modules"), join(dir, "node_modules"));
  }

  /**
   * Makes the edits, builds and runs; takes them back in the end.
   * @param edits what differs from the checkout
   * @param tests of one file
   * @returns how `bun test` ended
   * @throws {Error} where a text does not occur exactly once, or the edited source cannot be built
   */
  async run(edits: readonly Edit[], tests: readonly NamedTest[]): Promise<GroupResult> {
    const originals = new Map<string, string>();
    try {
      for (const { file, text, instead } of edits) {
        const path = join(this.#dir, file);
        const original = readFileSync(path, "utf8");
        const count = occurrences(original, text);
        if (count !== 1) throw new Error(`${file} has ${count} times: ${text}`);
        if (!originals.has(path)) originals.set(path, original);
        writeFileSync(
          path,
          original.replace(text, () => instead),
        );
      }
      const [file = ""] = tests.map((test) => test.file);
      // Unit tests have no use for the executable.
      if (!file.startsWith("tests/unit/")) await this.#build();
      return await this.#bun(
        ["test", "--timeout", "60000", `./${file}`, "-t", patternOf(tests)],
        TEST_TIMEOUT_MS,
      );
    } finally {
      for (const [path, text] of originals) writeFileSync(path, text);
    }
  }

  async #build(): Promise<void> {
    const { exitCode, stderr } = await this.#bun([".ci/build.ts"], BUILD_TIMEOUT_MS);
    if (exitCode !== 0) throw new Error(`the edited source cannot be built: ${stderr}`);
  }

  async #bun(args: readonly string[], timeoutMs: number): Promise<GroupResult> {
    return await runGroup({
      argv: [process.execPath, ...args],
      cwd: this.#dir,
      env: { TMPDIR: this.#tempDir, FORCE_COLOR: "0" },
      timeoutMs,
      quiet: true,
    });
  }
}

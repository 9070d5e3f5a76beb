/**
 * What an installer sandbox was to leave, found again by the worker: the sandbox may have put a link to a
 * directory of the host where its results should be.
 */

import { checkOrigin, freezeTree, openReal, type FrozenTree, type Origin } from "./freeze.ts";
import { UntrustedDir } from "./untrusted-dir.ts";

/** What a dead sandbox left in one directory of its work directory, out of its reach. */
export class Results implements Disposable {
  readonly #dir: UntrustedDir;
  readonly #origin: Origin;

  private constructor(dir: UntrustedDir, origin: Origin) {
    this.#dir = dir;
    this.#origin = origin;
  }

  /**
   * @param workDir what the sandbox, now dead, had to write into
   * @param name the directory in it
   * @returns that directory, made root's
   * @throws {OlError} package_install where it is no real directory of the sandbox's own
   */
  static open(workDir: string, name: string): Results {
    using work = UntrustedDir.open(workDir);
    // The engine gave the work directory to the one id that the sandbox had.
    const { uid, dev } = work.stat();
    const dir = openReal(work, name, name);
    try {
      checkOrigin(dir.stat(), { uid, dev }, name);
      dir.takeOver(0o700);
      return new Results(dir, { uid, dev });
    } catch (error) {
      dir[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * @param name a directory in it
   * @returns what is in that one, after it was made root's and read-only
   * @throws {OlError} package_install where it holds links, devices or too much
   */
  async freeze(name: string): Promise<FrozenTree> {
    using dir = openReal(this.#dir, name, name);
    return await freezeTree(dir, this.#origin);
  }

  /** @param name a directory that was frozen @returns its path, good until this is disposed of */
  path(name: string): string {
    return this.#dir.path(name);
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

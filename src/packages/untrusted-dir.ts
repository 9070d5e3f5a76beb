/**
 * A directory that a sandbox could write, held by its descriptor. Names in it mean whatever the sandbox made
 * them mean, a link to a directory of the host for one; so each step down opens one name without following
 * it, and everything is done to what was opened.
 */

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  openSync,
  type Stats,
} from "node:fs";

const OPEN_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** An open directory. */
export class UntrustedDir implements Disposable {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * @param path a directory whose parents are ours alone
   * @throws {Error} ENOTDIR for a link or anything else that is no directory, ENOENT
   */
  static open(path: string): UntrustedDir {
    return new UntrustedDir(openSync(path, OPEN_FLAGS));
  }

  /** @param name one component @throws {Error} ENOTDIR for a link or anything else that is no directory, ENOENT */
  openChild(name: string): UntrustedDir {
    return UntrustedDir.open(this.path(name));
  }

  /**
   * @param name one component; default: the directory itself
   * @returns a path that begins at this very directory; its last component is the caller's not to follow
   */
  path(name?: string): string {
    const own = `/proc/self/fd/${this.#fd}`;
    return name === undefined ? own : `${own}/${name}`;
  }

  /** What it is. */
  stat(): Stats {
    return fstatSync(this.#fd);
  }

  /**
   * Makes it root's: from then on no process of the sandbox can change what is in it.
   * @param mode its permissions
   */
  takeOver(mode: number): void {
    fchownSync(this.#fd, 0, 0);
    fchmodSync(this.#fd, mode);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

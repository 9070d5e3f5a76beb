/** The directory of one worker in every hierarchy: makes cgroups in it and clears what a dead worker left. */

import { assert } from "../common/assert.ts";
import { OlError, errnoNameOf } from "../common/errors.ts";
import { CGROUP_DEPTH_MAX } from "../common/limits.ts";
import type { Cgroup, CgroupRoot } from "./contract.ts";
import { KernelCgroup, type Layout, removeDirs } from "./group.ts";
import type { CgroupIo } from "./io.ts";

const COMPONENT = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/**
 * @param name what is to become one directory of the cgroup tree
 * @throws {AssertionError} where it could leave its parent or collide with a file of the kernel
 */
export function assertComponent(name: string): void {
  assert(COMPONENT.test(name) && name.length <= 200, `"${name}" cannot be the name of a cgroup`);
  assert(
    !/^(cgroup|memory|cpu|cpuacct|pids|freezer|io)\./.test(name),
    `"${name}" is a kernel's name`,
  );
}

/** Child directories; none where the directory itself is gone. */
function childrenOf(io: CgroupIo, dir: string): string[] {
  try {
    return io.childDirs(dir);
  } catch (error) {
    if (errnoNameOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** The one implementation of `CgroupRoot`. */
export class KernelCgroupRoot implements CgroupRoot {
  readonly name: string;
  readonly paths: readonly string[];
  readonly #io: CgroupIo;
  readonly #layout: Layout;
  readonly #release: () => void;
  /** Directories of cgroups that could only be made in part, and whose removal was refused. */
  #debris: string[] = [];
  #removed = false;

  /**
   * @param io operations
   * @param name the last component of each path
   * @param layout the directories, which exist
   * @param release undoes what was changed outside of them
   */
  constructor(io: CgroupIo, name: string, layout: Layout, release: () => void) {
    this.name = name;
    this.paths = layout.seats.map((seat) => seat.dir);
    this.#io = io;
    this.#layout = layout;
    this.#release = release;
  }

  create(name: string): Cgroup {
    assertComponent(name);
    const made: string[] = [];
    try {
      for (const path of this.paths) {
        this.#io.makeDir(`${path}/${name}`);
        made.push(`${path}/${name}`);
      }
    } catch (error) {
      this.#debris.push(...made);
      this.#removeDebris();
      throw error;
    }
    this.#removeDebris();
    return new KernelCgroup(this.#io, this.#layout, name, true);
  }

  async reclaim(): Promise<string[]> {
    const names = this.#leftovers();
    // Parents first: freezing or killing one takes its descendants along where the kernel can.
    const left = names.map((name) => this.#killLeftover(name));
    const failures: unknown[] = [];
    for (const cgroup of left.toReversed()) {
      try {
        await cgroup.waitEmpty();
        await cgroup.remove();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length === 0) return names;
    throw new OlError(
      "internal",
      `Cannot reclaim ${failures.length} of ${names.length} cgroups below ` +
        `${JSON.stringify(this.paths[0])} that an earlier worker left`,
      { op: "cgroup.reclaim", cause: new AggregateError(failures) },
    );
  }

  async remove(): Promise<void> {
    if (this.#removed) return;
    await removeDirs(this.#io, [...this.#debris.splice(0), ...this.paths]);
    this.#removed = true;
    this.#release();
  }

  #removeDebris(): void {
    if (this.#debris.length === 0) return;
    this.#debris = this.#debris.filter((dir) => {
      try {
        this.#io.removeDir(dir);
        return false;
      } catch {
        return true;
      }
    });
  }

  /** Relative paths of everything below the root in any hierarchy, parents before their children. */
  #leftovers(): string[] {
    const found = new Set<string>();
    let level = [""];
    for (let depth = 0; depth < CGROUP_DEPTH_MAX && level.length > 0; depth += 1) {
      const next = new Set<string>();
      for (const parent of level) {
        for (const path of this.paths) {
          const dir = parent === "" ? path : `${path}/${parent}`;
          for (const child of childrenOf(this.#io, dir)) {
            next.add(parent === "" ? child : `${parent}/${child}`);
          }
        }
      }
      for (const name of next) found.add(name);
      level = [...next];
    }
    return [...found];
  }

  /** Kills what is in one leftover, which may lack a directory in some hierarchies. @returns it, whole */
  #killLeftover(name: string): KernelCgroup {
    // Making what is missing lets one code path serve whole and half-made cgroups.
    for (const path of this.paths) {
      try {
        this.#io.makeDir(`${path}/${name}`);
      } catch (error) {
        if (errnoNameOf(error) !== "EEXIST") throw error;
      }
    }
    const cgroup = new KernelCgroup(this.#io, this.#layout, name, false);
    cgroup.killAll();
    return cgroup;
  }
}

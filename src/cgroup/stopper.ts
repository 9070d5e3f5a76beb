/** Freezing and killing everything in a cgroup, with whatever the kernel offers for it. */

import { errnoNameOf } from "../common/errors.ts";
import {
  CGROUP_FREEZE_POLL_US,
  CGROUP_FREEZE_WAIT_MAX_US,
  CGROUP_KILL_ROUNDS_MAX,
} from "../common/limits.ts";
import { type CgroupIo, field } from "./io.ts";
import type { PidsKnob, Seat } from "./knobs.ts";

/**
 * @param io where to read
 * @param dir a cgroup's directory
 * @returns its processes; empty where the cgroup is gone. Processes outside our pid namespace read as
 *   0 and are left out: nothing of ours can be there
 */
export function readPids(io: CgroupIo, dir: string): number[] {
  try {
    const text = io.read(`${dir}/cgroup.procs`);
    return text
      .split("\n")
      .filter(Boolean)
      .map(Number)
      .filter((pid) => pid > 0);
  } catch (error) {
    const name = errnoNameOf(error);
    if (name === "ENOENT" || name === "ENODEV") return [];
    throw error;
  }
}

/** Acts on one cgroup; `main` is the hierarchy that can freeze, `others` the remaining ones. */
export class Stopper {
  readonly #io: CgroupIo;
  readonly #main: Seat;
  readonly #others: readonly Seat[];
  readonly #pidsKnob: PidsKnob;
  readonly #hasKill: boolean;
  #mayBeFrozen: boolean;

  /**
   * @param io operations
   * @param main where to freeze
   * @param others where else processes may be, if they were killed while they joined
   * @param pidsKnob to stop forks where freezing does not succeed in time
   * @param hasKill whether `cgroup.kill` exists (Linux 5.14)
   * @param mayBeFrozen false only for a cgroup that we have just made
   */
  constructor(
    io: CgroupIo,
    main: Seat,
    others: readonly Seat[],
    pidsKnob: PidsKnob,
    hasKill: boolean,
    mayBeFrozen: boolean,
  ) {
    this.#io = io;
    this.#main = main;
    this.#others = others;
    this.#pidsKnob = pidsKnob;
    this.#hasKill = hasKill;
    this.#mayBeFrozen = mayBeFrozen;
  }

  freeze(): void {
    this.#mayBeFrozen = true;
    if (this.#main.kind === "v2") {
      this.#io.write(`${this.#main.dir}/cgroup.freeze`, "1");
      return;
    }
    // Version 1 can stay in FREEZING when a process was inside the kernel; asking again helps.
    // A process that cannot stop yet freezes as soon as it leaves the kernel, so that giving up the
    // wait is no error.
    let waitedUs = 0;
    do {
      this.#io.write(`${this.#main.dir}/freezer.state`, "FROZEN");
      if (this.isFrozen()) return;
      this.#io.pauseUs(CGROUP_FREEZE_POLL_US);
      waitedUs += CGROUP_FREEZE_POLL_US;
    } while (waitedUs < CGROUP_FREEZE_WAIT_MAX_US);
  }

  thaw(): void {
    if (!this.#mayBeFrozen) return;
    if (this.#main.kind === "v2") this.#writeIfThere("cgroup.freeze", "0");
    else this.#writeIfThere("freezer.state", "THAWED");
    this.#mayBeFrozen = false;
  }

  isFrozen(): boolean {
    if (this.#main.kind === "v2") {
      return field(this.#io.read(`${this.#main.dir}/cgroup.events`), "frozen") === 1;
    }
    return this.#io.read(`${this.#main.dir}/freezer.state`).trim() === "FROZEN";
  }

  killAll(): void {
    if (this.#hasKill) this.#writeIfThere("cgroup.kill", "1");
    else this.#killFrozen();
    this.thaw();
  }

  /** A cgroup of which a removal has taken a part already has nobody left to kill or to thaw. */
  #writeIfThere(file: string, text: string): void {
    try {
      this.#io.write(`${this.#main.dir}/${file}`, text);
    } catch (error) {
      const name = errnoNameOf(error);
      if (name !== "ENOENT" && name !== "ENODEV") throw error;
    }
  }

  /** A frozen cgroup cannot fork, exit or reuse a pid: what is listed then is what is there. */
  #killFrozen(): void {
    for (let round = 0; round < CGROUP_KILL_ROUNDS_MAX; round += 1) {
      if (readPids(this.#io, this.#main.dir).length === 0) return;
      this.freeze();
      const complete = this.#waitFrozen();
      for (const pid of readPids(this.#io, this.#main.dir)) this.#io.kill(pid);
      this.thaw();
      if (complete) return;
      this.#pidsKnob.forbidForks();
    }
  }

  #waitFrozen(): boolean {
    for (let us = 0; us < CGROUP_FREEZE_WAIT_MAX_US; us += CGROUP_FREEZE_POLL_US) {
      if (this.isFrozen()) return true;
      this.#io.pauseUs(CGROUP_FREEZE_POLL_US);
    }
    return false;
  }

  /**
   * Kills what had joined another hierarchy but not yet `main`, or was put there by hand.
   * @returns whether another hierarchy held any process
   */
  killStrays(): boolean {
    const others = new Set(this.#others.flatMap((seat) => readPids(this.#io, seat.dir)));
    if (others.size > 0) this.#kill(others);
    return others.size > 0;
  }

  #kill(others: ReadonlySet<number>): void {
    // Read after the others: what died in between is then in neither list and is not signalled.
    const dying = new Set(readPids(this.#io, this.#main.dir));
    const strays = [...others].filter((pid) => !dying.has(pid));
    if (strays.length === 0) return;
    const still = new Set(this.#others.flatMap((seat) => readPids(this.#io, seat.dir)));
    for (const pid of strays) if (still.has(pid)) this.#io.kill(pid);
  }
}

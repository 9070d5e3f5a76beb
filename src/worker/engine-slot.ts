/**
 * A number that one worker of an engine on this machine holds while it lives. From it follow the worker's
 * range of user ids and, for SOCK, the name of its cgroups, so that no two workers can meet, whatever
 * their ports, clusters or network namespaces. What a dead worker left behind is found by its free slot.
 */

import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import { OlError } from "../common/errors.ts";
import { ENGINE_SLOTS } from "../common/limits.ts";
import { tryLock } from "../sys/flock.ts";

const LOCK_DIR = "/run/openlambda";
const LOCK_NAME = /^slot-(\d{1,4})\.lock$/;

/** Each engine counts its own workers: what is to be cleaned up after them differs. */
const PREFIX = { sock: "slot", docker: "docker-slot" } as const;

/** Whose slots. */
export type SlotEngine = keyof typeof PREFIX;

/** A held slot. */
export interface EngineSlot {
  readonly index: number;
  /** Gives it up; what is named after it must be gone. */
  release(): void;
}

/**
 * @param index of a slot
 * @returns the name of its cgroups
 */
export function slotCgroupName(index: number): string {
  return `openlambda-${index}`;
}

function lockPath(index: number, engine: SlotEngine): string {
  return join(LOCK_DIR, `${PREFIX[engine]}-${index}.lock`);
}

// A lock file may be unlinked by its holder between our open and our lock: then it locks nothing.
function isStillThere(fd: number, path: string): boolean {
  const there = statSync(path, { throwIfNoEntry: false });
  return there !== undefined && there.ino === fstatSync(fd).ino;
}

/**
 * @param index of a slot
 * @param engine whose
 * @returns it, held until released or until this process ends; null where another process holds it
 * @throws {Error} the file system's own, such as EROFS
 */
export function tryHoldSlot(index: number, engine: SlotEngine = "sock"): EngineSlot | null {
  const path = lockPath(index, engine);
  mkdirSync(LOCK_DIR, { recursive: true, mode: 0o700 });
  const fd = openSync(path, "a", 0o600);
  if (!tryLock(fd) || !isStillThere(fd, path)) {
    closeSync(fd);
    return null;
  }
  return {
    index,
    release: () => {
      unlinkSync(path);
      closeSync(fd);
    },
  };
}

/**
 * @param engine whose
 * @returns the first free slot, held
 * @throws {OlError} worker_start where none is free
 */
export function holdFreeSlot(engine: SlotEngine = "sock"): EngineSlot {
  for (let index = 0; index < ENGINE_SLOTS; index++) {
    const slot = tryHoldSlot(index, engine);
    if (slot !== null) return slot;
  }
  const message = `Cannot start a worker: all ${ENGINE_SLOTS} places on this machine are taken`;
  throw new OlError("worker_start", message);
}

/** @returns slots of SOCK workers that live or died without cleaning up */
export function listSlots(): number[] {
  let names: string[];
  try {
    names = readdirSync(LOCK_DIR);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const match = LOCK_NAME.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
}

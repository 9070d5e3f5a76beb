/**
 * Program that has C fill an array of argv[2] bytes by a pointer that was taken once, and prints
 * how often the bytes went elsewhere. On its own, because they would go into memory of the tests;
 * and because only the first array that a function closes over is compiled into it.
 */

import { ptr } from "bun:ffi";

import { openLibc } from "../../../../src/sys/libc.ts";
import { disturb, ROUNDS } from "../disturb.ts";

const libc = openLibc({ memset: { args: ["ptr", "i32", "u64"], returns: "ptr" } });

const length = Number(process.argv[2]);
// The rule: an ArrayBuffer of its own. Without it, small ones were stale from round 30,000 on.
const bytes = new Uint8Array(new ArrayBuffer(length));
const address = ptr(bytes);

function fill(value: number): boolean {
  libc.memset(address, value, length);
  return bytes[0] === value && bytes[length - 1] === value;
}

let stale = 0;
for (let round = 0; round < ROUNDS; round += 1) {
  disturb(round);
  if (!fill(round & 255)) stale += 1;
}
process.stdout.write(JSON.stringify(stale));

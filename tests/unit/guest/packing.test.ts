/** Objects that lie close together although the memory before was full of holes. */

import { describe, expect } from "bun:test";

import { runPython, testPython } from "./python.ts";

/** Makes holes of all sizes; `pages(size)` counts the pages on which 200 new objects of a size lie. */
const HOLES = `
import json, packing
scattered = [[bytes(size - 33) for _ in range(10_000)] for size in range(48, 513, 16)]
for objects in scattered:
    del objects[::7]
def pages(size):
    made = [bytes(size - 33) for _ in range(200)]
    return len({id(each) >> 12 for each in made})
`;

describe("fill_holes()", () => {
  testPython.each([48, 64, 128, 512])("objects of %d bytes lie side by side", async (size) => {
    const before = (await runPython(`${HOLES}print(pages(${size}))`)) as number;
    const after = (await runPython(
      `${HOLES}packing.fill_holes()\nprint(pages(${size}))`,
    )) as number;
    const needed = Math.ceil((200 * size) / 4096);
    // Pools have headers, and end before their last page does.
    expect(after).toBeLessThanOrEqual(needed + 3);
    expect(before).toBeGreaterThan(2 * after);
  });

  testPython.each([48, 256, 1000])("blocks of %d bytes of the C library do, too", async (size) => {
    const holes = `
import ctypes, json, packing
libc = packing._libc
scattered = [libc.malloc(${size}) for _ in range(5000)]
for block in scattered[::50]:
    libc.free(block)
def pages():
    return len({libc.malloc(${size}) >> 12 for _ in range(100)})
`;
    const before = (await runPython(`${holes}print(pages())`)) as number;
    const after = (await runPython(`${holes}packing.fill_holes()\nprint(pages())`)) as number;
    // What had been freed before, and was too large for the lists, is cut up first: some pieces of it.
    expect(after).toBeLessThanOrEqual(Math.ceil((100 * (size + 16)) / 4096) + 14);
    expect(before).toBeGreaterThan(2 * after);
  });

  testPython("takes a bounded amount where memory is laid out in another way", async () => {
    const program = `
import itertools, json, packing, sys
places = itertools.count(1, 4096)
packing.id = lambda each: next(places)
packing.fill_holes()
kept = sum(sys.getsizeof(each) for objects in packing._kept for each in objects)
print(json.dumps(kept <= (len(packing._SIZES) + 1) * packing._CLASS_MAX))`;
    expect(await runPython(program)).toBe(true);
  });

  testPython("gives all blocks back where the C library lays them out in another way", async () => {
    const program = `
import itertools, json, packing
places = itertools.count(1 << 20, 1 << 20)
made, freed = {}, []
class Library:
    def malloc(self, size):
        place = next(places)
        made[place] = size
        return place
    free = freed.append
packing._libc = Library()
packing.fill_holes()
print(json.dumps([sorted(freed) == sorted(made), sum(made.values())]))`;
    const [isFreed, bytes] = (await runPython(program)) as [boolean, number];
    expect(isFreed).toBe(true);
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThanOrEqual(1 << 20);
  });
});

import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { type Place, WaitingRoom } from "../../../src/lambda/waiting-room.ts";

/** Enters calls by name; the first letter is the lambda. */
class Visitors {
  readonly room: WaitingRoom;
  readonly places = new Map<string, Place>();
  readonly lost: string[] = [];
  readonly #owners = new Map<string, object>();

  constructor(max: number) {
    this.room = new WaitingRoom(max);
  }

  enter(name: string): boolean {
    const lambda = name.charAt(0);
    const owner = this.#owners.get(lambda) ?? {};
    this.#owners.set(lambda, owner);
    const place = this.room.tryEnter(owner, () => {
      this.lost.push(name);
      this.places.delete(name);
    });
    if (place !== null) this.places.set(name, place);
    return place !== null;
  }

  leave(name: string): void {
    this.places.get(name)?.leave();
    this.places.delete(name);
  }

  held(lambda: string): number {
    return [...this.places.keys()].filter((name) => name.startsWith(lambda)).length;
  }
}

describe("tryEnter()", () => {
  test("lets one lambda fill the room, and refuses what is more", () => {
    const visitors = new Visitors(3);
    expect(["a1", "a2", "a3", "a4"].map((name) => visitors.enter(name))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect([visitors.room.size, visitors.lost]).toEqual([3, []]);
  });

  test("takes the newest place of the lambda that holds most, until both hold the same", () => {
    const visitors = new Visitors(4);
    for (const name of ["a1", "a2", "a3", "a4"]) visitors.enter(name);
    expect(["b1", "b2", "b3"].map((name) => visitors.enter(name))).toEqual([true, true, false]);
    expect([visitors.lost, visitors.room.size]).toEqual([["a4", "a3"], 4]);
    expect(visitors.enter("a5")).toBe(false);
    expect(visitors.enter("c1")).toBe(true);
    expect(visitors.lost).toEqual(["a4", "a3", "b2"]);
  });

  test("takes no place from a lambda that would then hold fewer", () => {
    const visitors = new Visitors(3);
    for (const name of ["a1", "b1", "a2"]) visitors.enter(name);
    expect(["b2", "c1", "d1"].map((name) => visitors.enter(name))).toEqual([false, true, false]);
    expect(visitors.lost).toEqual(["a2"]);
  });

  test("knows which place is the newest, whoever left in between", () => {
    const visitors = new Visitors(4);
    for (const name of ["a1", "a2", "a3", "a4"]) visitors.enter(name);
    for (const name of ["a4", "a2"]) visitors.leave(name);
    for (const name of ["a5", "b1", "b2"]) visitors.enter(name);
    expect(visitors.lost).toEqual(["a5"]);
    expect([...visitors.places.keys()]).toEqual(["a1", "a3", "b1", "b2"]);
  });

  test("gives each lambda its share, whatever the others do", () => {
    const step = fc.record({
      name: fc.constantFrom("a", "a", "a", "a", "b", "b", "c"),
      isEntering: fc.boolean(),
    });
    const property = fc.property(fc.integer({ min: 1, max: 9 }), fc.array(step), (max, steps) => {
      const visitors = new Visitors(max);
      let count = 0;
      for (const { name, isEntering } of steps) {
        count += 1;
        if (!isEntering) {
          visitors.leave([...visitors.places.keys()].find((one) => one.startsWith(name)) ?? "");
        } else if (!visitors.enter(`${name}${count}`)) {
          // Refused only where the room is full and nobody holds more than it then would.
          const held = ["a", "b", "c"].map((one) => visitors.held(one));
          expect(visitors.room.size).toBe(max);
          expect(Math.max(...held)).toBeLessThanOrEqual(visitors.held(name) + 1);
        }
        expect(visitors.room.size).toBe(visitors.places.size);
        expect(visitors.room.size).toBeLessThanOrEqual(max);
      }
      expect(new Set(visitors.lost).size).toBe(visitors.lost.length);
    });
    fc.assert(property, { numRuns: 500 });
  });
});

describe("leave()", () => {
  test("frees a place once", () => {
    const visitors = new Visitors(2);
    visitors.enter("a1");
    const place = visitors.places.get("a1")!;
    place.leave();
    place.leave();
    expect(visitors.room.size).toBe(0);
    expect(["a2", "a3", "a4"].map((name) => visitors.enter(name))).toEqual([true, true, false]);
  });

  test("is nothing for a place that was lost", () => {
    const visitors = new Visitors(2);
    for (const name of ["a1", "a2"]) visitors.enter(name);
    const place = visitors.places.get("a2")!;
    visitors.enter("b1");
    expect(visitors.lost).toEqual(["a2"]);
    place.leave();
    expect([visitors.room.size, visitors.enter("b2")]).toEqual([2, false]);
  });
});

/** Pages of listings and ranges of objects, as the embedded store cuts them. */

import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { parseRange } from "../../../src/registry/store/conditions.ts";
import { listPage } from "../../../src/registry/store/listing.ts";

describe("listPage()", () => {
  test("gives each key or group once, in order, whatever the size of pages", () => {
    const key = fc.string({
      unit: fc.constantFrom("a", "b", "/", "é", "😀"),
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(key, { maxLength: 25 }),
        fc.constantFrom("", "/"),
        fc.constantFrom("", "a", "a/", "é"),
        fc.integer({ min: 1, max: 4 }),
        (keys, delimiter, prefix, max) => {
          const sorted = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
          const expected = new Set<string>();
          for (const item of sorted.filter((text) => text.startsWith(prefix))) {
            const end = delimiter === "" ? -1 : item.indexOf(delimiter, prefix.length);
            expected.add(end === -1 ? item : item.slice(0, end + 1));
          }
          const got: string[] = [];
          let after = "";
          for (;;) {
            const page = listPage(sorted, { prefix, delimiter, after, max });
            expect(page.keys.length + page.prefixes.length).toBeLessThanOrEqual(max);
            got.push(...page.keys, ...page.prefixes);
            if (page.next === null) break;
            after = page.next;
          }
          expect(got.toSorted()).toEqual([...expected].toSorted());
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("parseRange()", () => {
  test("gives what HTTP says, or refuses", () => {
    expect(parseRange("bytes=0-0", 10)).toEqual({ start: 0, length: 1 });
    expect(parseRange("bytes=5-", 10)).toEqual({ start: 5, length: 5 });
    expect(parseRange("bytes=5-99", 10)).toEqual({ start: 5, length: 5 });
    expect(parseRange("bytes=-3", 10)).toEqual({ start: 7, length: 3 });
    expect(parseRange("bytes=-99", 10)).toEqual({ start: 0, length: 10 });
    for (const ignored of [
      undefined,
      "",
      "bytes=",
      "bytes=-",
      "bytes=5-4",
      "bytes=0-1,3-4",
      "x=0-1",
    ]) {
      expect(parseRange(ignored, 10)).toBeNull();
    }
    for (const refusedRange of ["bytes=10-", "bytes=10-11", "bytes=-0"]) {
      expect(() => parseRange(refusedRange, 10)).toThrow("outside");
    }
    expect(() => parseRange("bytes=0-", 0)).toThrow("outside");
  });
});

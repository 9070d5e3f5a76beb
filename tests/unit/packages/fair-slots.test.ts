import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { FairSlots } from "../../../src/packages/fair-slots.ts";

/** Tasks that end when they are told to. */
function stage(max: number) {
  const slots = new FairSlots(max);
  const running: { readonly name: string; readonly end: (error?: Error) => void }[] = [];
  const started: string[] = [];
  const start = (name: string): Promise<void> =>
    slots.run(name.charAt(0), () => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      started.push(name);
      running.push({
        name,
        end: (error) => {
          running.splice(
            running.findIndex((one) => one.name === name),
            1,
          );
          if (error === undefined) resolve();
          else reject(error);
        },
      });
      return promise;
    });
  const end = async (name: string, error?: Error): Promise<void> => {
    running.find((one) => one.name === name)?.end(error);
    await Bun.sleep(0);
  };
  return { start, end, started, running };
}

test("FairSlots runs one task of each owner at a time, others beside it", async () => {
  const { start, end, started } = stage(2);
  const all = ["a1", "a2", "a3", "b1"].map(start);
  expect(started).toEqual(["a1", "b1"]);
  await end("b1");
  expect(started).toEqual(["a1", "b1"]);
  await end("a1");
  expect(started).toEqual(["a1", "b1", "a2"]);
  await end("a2");
  await end("a3");
  await Promise.all(all);
});

test("FairSlots gives owners their turn however many tasks each has", async () => {
  const { start, end, started } = stage(1);
  const all = ["a1", "a2", "a3", "b1", "c1", "b2"].map(start);
  for (const name of ["a1", "b1", "c1", "a2", "b2", "a3"]) {
    expect(started.at(-1)).toBe(name);
    await end(name);
  }
  await Promise.all(all);
});

test("FairSlots goes on after a task that failed", async () => {
  const { start, end } = stage(1);
  const failing = start("a1");
  const other = start("b1");
  void end("a1", new Error("no"));
  await expect(failing).rejects.toThrow("no");
  await end("b1");
  await other;
});

test("FairSlots is never over its bound, never idle while it could run something", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.tuple(fc.constantFrom("a", "b", "c", "d"), fc.nat(3)), { maxLength: 20 }),
      async (max, steps) => {
        const { start, end, started, running } = stage(max);
        const all: Promise<void>[] = [];
        const check = (): void => {
          const owners = running.map(({ name }) => name.charAt(0));
          expect(owners.length).toBeLessThanOrEqual(max);
          expect(new Set(owners).size).toBe(owners.length);
          const names = all.map((_, index) => `${steps[index]![0]}${index}`);
          const startable = names.filter(
            (name) => !started.includes(name) && !owners.includes(name.charAt(0)),
          );
          if (startable.length > 0) expect(owners.length).toBe(max);
        };
        for (const [index, [owner, ends]] of steps.entries()) {
          all.push(start(`${owner}${index}`));
          check();
          if (ends === 0 && running[0] !== undefined) await end(running[0].name);
          check();
        }
        while (running[0] !== undefined) await end(running[0].name);
        await Promise.all(all);
        expect(started).toHaveLength(steps.length);
      },
    ),
  );
});

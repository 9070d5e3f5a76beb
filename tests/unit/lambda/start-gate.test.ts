import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { StartGate } from "../../../src/lambda/start-gate.ts";
import { settle } from "./fakes.ts";

/** Work that ends when the test says so. */
function work(log: string[], name: string) {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const run = (): Promise<string> => {
    log.push(name);
    return promise;
  };
  return { run, finish: () => resolve(name), fail: () => reject(new Error(name)) };
}

test("run() lets as many in as it may and the others in their order", async () => {
  const gate = new StartGate(2);
  const entered: string[] = [];
  const works = ["a", "b", "c", "d"].map((name) => work(entered, name));
  const results = works.map(({ run }) => gate.run(run));
  await settle();
  expect(entered).toEqual(["a", "b"]);
  works[1]!.finish();
  await settle();
  expect(entered).toEqual(["a", "b", "c"]);
  for (const { finish } of works) finish();
  expect(await Promise.all(results)).toEqual(["a", "b", "c", "d"]);
});

test("run() passes an error on and gives the place to the next", async () => {
  const gate = new StartGate(1);
  const entered: string[] = [];
  const [first, second] = [work(entered, "a"), work(entered, "b")];
  const failing = gate.run(first.run);
  const waiting = gate.run(second.run);
  first.fail();
  await expect(failing).rejects.toThrow("a");
  second.finish();
  expect(await waiting).toBe("b");
});

test("run() gives the place on when work throws before its first promise", async () => {
  const gate = new StartGate(1);
  const broken = (): Promise<never> => {
    throw new Error("at once");
  };
  await expect(gate.run(broken)).rejects.toThrow("at once");
  expect(await gate.run(() => Promise.resolve(1))).toBe(1);
});

test("run() never lets in more, loses nobody, and keeps the order, however works end", async () => {
  const scenario = fc.asyncProperty(
    fc.integer({ min: 1, max: 4 }),
    fc.array(fc.oneof(fc.constant("come"), fc.nat(5), fc.constant("fail")), { maxLength: 40 }),
    async (max, steps) => {
      const gate = new StartGate(max);
      const entered: string[] = [];
      const inside: ReturnType<typeof work>[] = [];
      const results: Promise<string>[] = [];
      let count = 0;
      for (const step of steps) {
        if (step === "come") {
          count += 1;
          const one = work(entered, String(count));
          const run = (): Promise<string> => {
            inside.push(one);
            return one.run();
          };
          results.push(gate.run(run).catch((error: Error) => error.message));
        } else if (step === "fail") inside.shift()?.fail();
        else inside.splice(step % Math.max(1, inside.length), 1)[0]?.finish();
        await settle();
        expect(inside.length).toBe(Math.min(max, count - (entered.length - inside.length)));
      }
      while (inside.length > 0) {
        inside.shift()?.finish();
        await settle();
      }
      const names = Array.from({ length: count }, (_, index) => String(index + 1));
      expect(entered).toEqual(names);
      expect(await Promise.all(results)).toEqual(names);
    },
  );
  await fc.assert(scenario, { numRuns: 100 });
});

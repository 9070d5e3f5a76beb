import { expect, test } from "bun:test";

import { waitFor } from "../../helpers/wait-for.ts";

test("waitFor() returns the first answer that is neither null nor false", async () => {
  const answers: (number | null | false)[] = [null, false, 0];
  expect(await waitFor(() => answers.shift(), "an answer comes")).toBe(0);
});

test("waitFor() gives up after its timeout and says what it waited for", async () => {
  await expect(waitFor(() => false, "pigs fly", 5)).rejects.toThrow("until pigs fly");
});

test("waitFor() passes on what the condition throws", async () => {
  const failing = (): boolean => {
    throw new Error("broken");
  };
  await expect(waitFor(failing, "never")).rejects.toThrow("broken");
});

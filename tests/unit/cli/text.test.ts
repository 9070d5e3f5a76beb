import { expect, test } from "bun:test";
import { forTerminal } from "../../../src/cli/text.ts";

test("forTerminal() makes control characters visible on a terminal only", () => {
  const hostile = "a\u001b]52;c;AAAA\u0007b\tc\r\nd\re\u009b2J\u007f";
  expect(forTerminal(hostile, true)).toBe(
    String.raw`a\x1b]52;c;AAAA\x07b` + "\tc\nd" + String.raw`\x0de\x9b2J\x7f`,
  );
  expect(forTerminal(hostile, false)).toBe(hostile);
  expect(forTerminal("Grüße, 世界 🎉\n", true)).toBe("Grüße, 世界 🎉\n");
});

/** The ring that shows whether there is io_uring. */

import { expect } from "bun:test";
import { closeSync, readlinkSync } from "node:fs";

import { makeRing } from "../../../src/sys/io-uring.ts";
import { requires } from "../../helpers/requires.ts";
import { isClosedOnExec } from "./child.ts";

const withRing = requires({ ioUring: true });

withRing("makeRing() gives a ring that no program inherits", () => {
  const ring = makeRing();
  expect(readlinkSync(`/proc/self/fd/${ring}`)).toBe("anon_inode:[io_uring]");
  expect(isClosedOnExec(ring)).toBe(true);
  closeSync(ring);
});

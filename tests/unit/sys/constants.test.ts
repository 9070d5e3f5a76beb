/** The numbers given to the kernel: against Python's, and its headers where they are installed. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";

import * as constants from "../../../src/sys/constants.ts";
import { requires } from "../../helpers/requires.ts";
import { PYTHON, python } from "./child.ts";

const OURS: Readonly<Record<string, number | bigint>> = { ...constants };

/** Where Python has them. */
const PYTHON_MODULES = {
  socket: [
    "AF_UNIX",
    "SOCK_STREAM",
    "SOCK_SEQPACKET",
    "SOCK_CLOEXEC",
    "SOL_SOCKET",
    "SCM_RIGHTS",
    "MSG_NOSIGNAL",
    "MSG_DONTWAIT",
  ],
  signal: ["SIGKILL"],
} as const;

/** Where the kernel has them; its headers come with a C compiler, not with every machine. */
const HEADERS = {
  "linux/mount.h": [
    "MS_NOSUID",
    "MS_NOEXEC",
    "MS_BIND",
    "MS_REC",
    "MS_PRIVATE",
    "OPEN_TREE_CLONE",
    "MOUNT_ATTR_RDONLY",
    "MOUNT_ATTR_NOSUID",
    "MOUNT_ATTR_NODEV",
  ],
  "linux/sched.h": ["CLONE_NEWNS"],
  "linux/fcntl.h": ["AT_FDCWD", "AT_EMPTY_PATH", "AT_RECURSIVE"],
  "linux/prctl.h": ["PR_SET_PDEATHSIG"],
  "asm-generic/unistd.h": ["SYS_open_tree", "SYS_mount_setattr"],
} as const;

/** Value of `#define NAME 1`, `0x1`, `-1` or `(1<<1)`; undefined where it is not defined so. */
function definition(header: string, name: string): number | undefined {
  const macro = name.replace(/^SYS_/, "__NR_");
  const line = new RegExp(`^#\\s*define\\s+${macro}\\s+([^/\\n]+)`, "m").exec(header)?.[1];
  const shift = /^\(1\s*<<\s*(\d+)\)/.exec(line ?? "")?.[1];
  if (shift !== undefined) return 2 ** Number(shift);
  return line === undefined ? undefined : Number(line.trim());
}

describe("kernel constants", () => {
  requires({ programs: [PYTHON] })("are those that Python has", async () => {
    const pairs = Object.entries(PYTHON_MODULES).map(
      ([module, names]) => `{n: int(getattr(${module}, n)) for n in ${JSON.stringify(names)}}`,
    );
    const imports = `import json, ${Object.keys(PYTHON_MODULES).join(", ")}\n`;
    const theirs = await python(`${imports}print(json.dumps({**${pairs.join(", **")}}))`);
    expect(OURS).toMatchObject(theirs as Record<string, number>);
  });

  for (const [file, names] of Object.entries(HEADERS)) {
    const path = `/usr/include/${file}`;
    // Not a skipped test: nothing is lost where there are no headers.
    if (!existsSync(path)) continue;
    test(`are those of ${file}`, () => {
      const header = readFileSync(path, "utf8");
      // Headers may be older than the constant.
      const defined = names.filter((name) => definition(header, name) !== undefined);
      const theirs = defined.map((name) => `${name} ${definition(header, name)}`);
      expect(theirs).toEqual(defined.map((name) => `${name} ${OURS[name]}`));
    });
  }

  test("close-on-exec is one bit, whatever it is asked of", () => {
    expect(constants.OPEN_TREE_CLOEXEC).toBe(constants.SOCK_CLOEXEC);
  });
});

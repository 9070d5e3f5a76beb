/** What counts as a file that this kernel does not have: error 95 is ENOTSUP in the runtime. */
import { expect, test } from "bun:test";
import { type CgroupIo, systemCgroupIo, tryRead } from "../../../src/cgroup/io.ts";
import { SyscallError } from "../../../src/common/errors.ts";

test("tryRead() returns null where the kernel does not support the file", () => {
  const io: CgroupIo = {
    ...systemCgroupIo,
    read: (path) => {
      throw new SyscallError("read", 95, "ENOTSUP", path);
    },
  };
  expect(tryRead(io, "/sys/fs/cgroup/memory.pressure")).toBeNull();
});

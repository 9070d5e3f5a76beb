import { expect, test } from "bun:test";
import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";

import { expectNoLeaks, leakSnapshot, leaksSince } from "../../helpers/leaks.ts";
import { requires } from "../../helpers/requires.ts";
import { tempDir } from "../../helpers/temp-dir.ts";
import { waitFor } from "../../helpers/wait-for.ts";

test("leaksSince() names a process by its environment, and nothing once it ended", async () => {
  using dir = tempDir();
  const before = leakSnapshot();
  const child = Bun.spawn(["sleep", "60"], { env: { MARK: dir.path }, stdout: "ignore" });
  const options = { marks: [dir.path] };
  await waitFor(
    () => leaksSince(before, options).some((leak) => leak.includes("sleep 60")),
    "seen",
  );
  child.kill("SIGKILL");
  await child.exited;
  await expectNoLeaks(before, options);
});

test("leaksSince() names an open descriptor", () => {
  using dir = tempDir();
  const before = leakSnapshot();
  const fd = openSync(dir.path, "r");
  expect(leaksSince(before, { marks: [dir.path] })).toEqual([`descriptor ${dir.path} #1`]);
  closeSync(fd);
  expect(leaksSince(before, { marks: [dir.path] })).toEqual([]);
});

requires({ root: true, programs: ["mount", "umount"] })("leaksSince() names a mount", () => {
  using dir = tempDir();
  const before = leakSnapshot();
  expect(Bun.spawnSync(["mount", "-t", "tmpfs", "test", dir.path]).exitCode).toBe(0);
  const leaks = leaksSince(before, { marks: [dir.path] });
  expect(Bun.spawnSync(["umount", dir.path]).exitCode).toBe(0);
  expect(leaks.filter((leak) => leak.startsWith(`mount ${dir.path}`))).toHaveLength(1);
  expect(leaksSince(before, { marks: [dir.path] })).toEqual([]);
});

requires({ root: true })("leaksSince() names a cgroup", () => {
  const mounts = Bun.spawnSync(["findmnt", "-rno", "TARGET", "-t", "cgroup,cgroup2"]);
  const [root] = mounts.stdout
    .toString()
    .split("\n")
    .filter((line) => /pids|cgroup$/.test(line));
  const name = `ol-leak-test-${process.pid}`;
  const before = leakSnapshot();
  mkdirSync(`${root}/${name}`);
  const leaks = leaksSince(before, { marks: [name] });
  rmdirSync(`${root}/${name}`);
  expect(leaks).toEqual([`cgroup ${root}/${name}`]);
  expect(leaksSince(before, { marks: [name] })).toEqual([]);
});

requires({ root: true })(
  "leaksSince() counts a cgroup by name only once nothing runs in it",
  async () => {
    const mounts = Bun.spawnSync(["findmnt", "-rno", "TARGET", "-t", "cgroup,cgroup2"]);
    const [root] = mounts.stdout
      .toString()
      .split("\n")
      .filter((line) => /pids|cgroup$/.test(line));
    const name = `ol-dead-test-${process.pid}`;
    const dir = `${root}/${name}-7`;
    const options = { marks: ["no such mark"], deadCgroups: name };
    const before = leakSnapshot();
    mkdirSync(`${dir}/inner`, { recursive: true });
    const child = Bun.spawn(["sleep", "60"], { stdout: "ignore" });
    writeFileSync(`${dir}/inner/cgroup.procs`, String(child.pid));
    const busy = leaksSince(before, options).filter((leak) => leak.startsWith("cgroup"));
    child.kill("SIGKILL");
    await child.exited;
    await waitFor(() => readFileSync(`${dir}/inner/cgroup.procs`, "utf8") === "", "it is empty");
    const dead = leaksSince(before, options).filter((leak) => leak.startsWith("cgroup"));
    rmdirSync(`${dir}/inner`);
    rmdirSync(dir);
    expect(busy).toEqual([]);
    expect(dead).toEqual([`cgroup ${dir}`, `cgroup ${dir}/inner`]);
  },
);

test("expectNoLeaks() says what is left", async () => {
  using dir = tempDir();
  const before = leakSnapshot();
  const fd = openSync(dir.path, "r");
  const failure = expectNoLeaks(before, { marks: [dir.path], settleMs: 20 });
  await expect(failure).rejects.toThrow(`descriptor ${dir.path} #1`);
  closeSync(fd);
});

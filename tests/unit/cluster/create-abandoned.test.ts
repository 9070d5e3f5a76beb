/** What is left of a `createCluster` that was killed goes with the next one in the same place. */

import { expect, test } from "bun:test";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createCluster } from "../../../src/cluster/create.ts";
import { tempDir } from "../../helpers/temp-dir.ts";

const CREATE = join(import.meta.dir, "../../../src/cluster/create.ts");

/** Runs `createCluster` in a process of its own, which is killed while it makes the base. */
async function createAndDie(cluster: string): Promise<void> {
  const script = `
    import { writeFileSync } from "node:fs";
    import { createCluster } from ${JSON.stringify(CREATE)};
    await createCluster(process.argv[1], {
      makeBase: async (dir) => {
        writeFileSync(dir + "/half", "");
        process.kill(process.pid, "SIGKILL");
      },
    });
  `;
  const child = Bun.spawn([process.execPath, "-e", script, cluster], { stderr: "inherit" });
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
}

test("createCluster() removes what one that was killed left, whatever it was to make", async () => {
  using temp = tempDir();
  await createAndDie(temp.join("first"));
  expect(readdirSync(temp.path)).toHaveLength(1);
  await createCluster(temp.join("second"));
  expect(readdirSync(temp.path)).toEqual(["second"]);
});

test("createCluster() leaves alone what others are making, and names that only look alike", async () => {
  using temp = tempDir();
  const kept = [".ol-new-", ".ol-new-1-2", ".ol-new-x-1-00", "ol-new-99999-1-00"];
  for (const name of kept) mkdirSync(temp.join(name));
  const inner = temp.join("inner");
  await createCluster(temp.join("outer"), {
    makeBase: async () => {
      await createCluster(inner);
    },
  });
  expect(readdirSync(temp.path).toSorted()).toEqual([...kept, "inner", "outer"].toSorted());
});

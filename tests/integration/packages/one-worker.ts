/**
 * The install cache of one worker in a process of its own, for tests with several and for one that is killed.
 * Its one argument is a `WorkerPlan`; its one line of output a `WorkerOutcome`.
 */

import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { waitFor } from "../../helpers/wait-for.ts";
import { Workbench } from "./fixture.ts";

/** What it does. */
export interface WorkerPlan {
  readonly packagesDir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly packages: string;
  /** After a run of pip in this mode it makes the file `done` and goes on once `until` is there. */
  readonly pause: { readonly mode: string; readonly done: string; readonly until: string } | null;
  /** Begins once this is there. */
  readonly startAfter: string | null;
}

/** What came of it. */
export interface WorkerOutcome {
  readonly dirs: readonly string[];
}

/** @returns whether the file is there; for a directory, whether it holds anything */
function isThere(path: string): boolean {
  if (!existsSync(path)) return false;
  return !path.endsWith("/") || readdirSync(path).length > 0;
}

if (import.meta.main) {
  const plan = JSON.parse(process.argv[2] ?? "") as WorkerPlan;
  const bench = new Workbench(plan.packagesDir);
  const { pause, startAfter } = plan;
  bench.runner.after = async (_, mode) => {
    if (pause === null || mode !== pause.mode) return;
    writeFileSync(pause.done, "");
    await waitFor(() => isThere(pause.until), `${pause.until} is there`, 60_000);
  };
  if (startAfter !== null) await waitFor(() => isThere(startAfter), "it may start", 60_000);
  const installer = await bench.open({ env: plan.env });
  const dir = bench.code({ "packages.txt": plan.packages });
  const { dirs } = await installer.ensure(dir, join("lambda", "1", "x"));
  const outcome: WorkerOutcome = { dirs: dirs.map((one) => one.dir) };
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
  bench.close();
}

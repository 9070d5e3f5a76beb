/** `ol status`: whether each worker answers, what it does, and which containers the cluster has. */

import { defineCommand } from "citty";
import type { ClusterPaths } from "../cluster/paths.ts";
import { STATUS_WATCH_INTERVAL_MS } from "../common/limits.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf } from "./options.ts";
import { print, printJson } from "./output.ts";
import { reportStatus, type StatusReport } from "./status-report.ts";
import { renderScreen, renderStatus } from "./status-view.ts";

/** A screen of its own, without a cursor, that leaves the terminal's content as it was. */
const ENTER_SCREEN = "\u001b[?1049h\u001b[?25l";
const LEAVE_SCREEN = "\u001b[?25h\u001b[?1049l";

const EXIT_DONE = 0;
const EXIT_FAILED = 1;

const jsonOf = ({ workers, docker, registry }: StatusReport): object => ({
  workers,
  registry,
  containers: docker.containers,
  containersReason: docker.reason,
});

/** Resolves when the user has seen enough. */
function untilInterrupted(): { readonly promise: Promise<"stop"> } {
  const { promise, resolve } = Promise.withResolvers<"stop">();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => resolve("stop"));
  }
  return { promise };
}

/** Draws the state again and again: over itself at a terminal, one block after the other elsewhere. */
async function watch(paths: ClusterPaths, json: boolean): Promise<void> {
  const stopped = untilInterrupted();
  const isScreen = process.stdout.isTTY && !json;
  let before: StatusReport | null = null;
  if (isScreen) print(ENTER_SCREEN);
  try {
    for (;;) {
      const report: StatusReport = await reportStatus(paths);
      const text = json ? "" : renderStatus(report, before);
      if (json) printJson(jsonOf(report));
      else if (isScreen) {
        print(renderScreen(text, process.stdout.rows, process.stdout.columns));
      } else print(before === null ? text : `\n${text}`);
      before = report;
      const pause = Bun.sleep(STATUS_WATCH_INTERVAL_MS);
      if ((await Promise.race([stopped.promise, pause])) === "stop") return;
    }
  } finally {
    if (isScreen) print(LEAVE_SCREEN);
  }
}

export default defineCommand({
  meta: {
    description:
      "Pings each worker that was started, lists the cluster's containers, and shows what each worker\n" +
      "does. Exit status 1 where a worker does not answer.",
  },
  args: {
    cluster: CLUSTER_ARG,
    json: { ...JSON_ARG, description: "Print JSON, with everything that the workers count" },
    watch: {
      type: "boolean",
      alias: "w",
      description: "Show it again each second, until interrupted",
    },
  },
  async run({ args }): Promise<number> {
    const paths = await openClusterOf(args.cluster);
    if (args.watch === true) {
      await watch(paths, args.json === true);
      return EXIT_DONE;
    }
    const report = await reportStatus(paths);
    if (args.json) printJson(jsonOf(report));
    else print(renderStatus(report, null));
    return report.ok ? EXIT_DONE : EXIT_FAILED;
  },
});

/** `ol new`: creates a cluster directory with its base. */

import { defineCommand } from "citty";
import { createBase } from "../base/base.ts";
import { createCluster } from "../cluster/create.ts";
import { clusterPaths } from "../cluster/paths.ts";
import { openNotes, print, printJson } from "./output.ts";
import { CLUSTER_ARG, clusterDirOf, JSON_ARG } from "./options.ts";

export default defineCommand({
  meta: {
    description:
      "Creates a cluster directory with its base, the root file system that every lambda sees.\n" +
      "The path must not exist, its parent must.",
  },
  args: {
    cluster: CLUSTER_ARG,
    base: {
      type: "string",
      default: "host",
      valueHint: "SPEC",
      description: "host, docker:IMAGE, tar:FILE or dir:DIR",
    },
    json: JSON_ARG,
  },
  async run({ args }): Promise<void> {
    const notes = await openNotes();
    const interrupt = new AbortController();
    const abort = (): void => interrupt.abort(new Error("interrupted"));
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, abort);
    const cluster = clusterDirOf(args.cluster);
    const paths = await createCluster(cluster, {
      makeBase: (dir) =>
        createBase({
          spec: args.base,
          dir,
          finalDir: clusterPaths(cluster).base,
          onProgress: (text) => notes.note(text),
          signal: interrupt.signal,
        }),
    });
    if (args.json) printJson({ cluster: paths.root, base: args.base });
    else print(`Created cluster ${paths.root}\n`);
  },
});

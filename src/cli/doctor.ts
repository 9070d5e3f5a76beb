/** `ol doctor`: whether this host has what the engines need, and how to mend what it has not. */

import { resolve } from "node:path";
import { defineCommand } from "citty";
import type { Finding } from "../worker/doctor/contract.ts";
import { findDockerCluster } from "./docker-cluster.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf, wholeNumberOf } from "./options.ts";
import { print, printJson } from "./output.ts";

const DEFAULT_WORKER_PORT = 8080;
const DEFAULT_REGISTRY_PORT = 9000;
const PORT_MAX = 65_535;

const LABELS: Readonly<Record<Finding["status"], string>> = {
  ok: "ok   ",
  warn: "warn ",
  fail: "FAIL ",
  skip: "skip ",
};

function renderFinding({ id, status, found, disables, mend }: Finding): string {
  const lines = [`${LABELS[status]} ${id.padEnd(14)} ${found}`];
  const indent = " ".repeat(21);
  if (disables !== null) lines.push(`${indent}disables: ${disables}`);
  if (mend !== null) lines.push(`${indent}mend: ${mend}`);
  return `${lines.join("\n")}\n`;
}

function summaryOf(findings: readonly Finding[]): string {
  const count = (status: Finding["status"]): number =>
    findings.filter((finding) => finding.status === status).length;
  const failed = count("fail");
  if (failed > 0) return `Sandboxes cannot be made here: ${failed} of the above must be mended\n`;
  const warned = count("warn");
  return warned === 0 ? "All is well\n" : `Sandboxes can be made here; ${warned} to look at\n`;
}

export default defineCommand({
  meta: {
    description:
      "Checks this host for what sandboxes need and names the remedy of what is missing. Exit\n" +
      "status 1 where sandboxes cannot be made. Changes nothing.",
  },
  args: {
    cluster: {
      ...CLUSTER_ARG,
      description: "Also look at this cluster's base and settings; default: none",
    },
    port: {
      type: "string",
      alias: ["p"],
      description: `Port of a worker to be; default: ${DEFAULT_WORKER_PORT}`,
      valueHint: "PORT",
    },
    json: JSON_ARG,
  },
  async run({ args }): Promise<number> {
    const isAsked = args.cluster !== undefined || (process.env["OL_CLUSTER"] ?? "") !== "";
    const paths = isAsked ? await openClusterOf(args.cluster) : null;
    const workerPort =
      args.port === undefined ? DEFAULT_WORKER_PORT : wholeNumberOf("port", args.port, 1, PORT_MAX);
    const clusterSocket = paths === null ? undefined : findDockerCluster(paths)?.socket;
    const { defaultDockerSocket } = await import("../base/docker-client.ts");
    const dockerSocket = clusterSocket ?? defaultDockerSocket();
    const { examine } = await import("../worker/doctor/doctor.ts");
    const { createDoctorHost } = await import("../worker/doctor/host.ts");
    const { findings, isUsable } = await examine(createDoctorHost(), {
      directory: paths?.root ?? resolve("."),
      baseDir: paths?.base ?? null,
      ports: [workerPort, DEFAULT_REGISTRY_PORT],
      dockerSocket,
    });
    if (args.json) printJson({ usable: isUsable, findings });
    else print(findings.map(renderFinding).join("") + summaryOf(findings));
    return isUsable ? 0 : 1;
  },
});

/** Runs every check of `ol doctor`, each on its own: one that fails unexpectedly spoils no other. */

import * as checks from "./checks.ts";
import type { DoctorHost, DoctorRequest, Finding } from "./contract.ts";

/** What `doctor` found. */
export interface DoctorReport {
  readonly findings: readonly Finding[];
  /** False where a finding of status `fail` keeps the engine "sock" from working. */
  readonly isUsable: boolean;
}

/**
 * @param host the machine
 * @param request what is asked about
 * @returns all findings, in the order in which they are best mended
 */
export async function examine(host: DoctorHost, request: DoctorRequest): Promise<DoctorReport> {
  const groups: readonly [id: string, look: () => Finding | Finding[] | Promise<Finding>][] = [
    ["user", () => checks.checkUser(host)],
    ["kernel", () => checks.checkKernel(host)],
    ["mount-calls", () => checks.checkMountCalls(host)],
    ["namespaces", () => checks.checkNamespaces(host)],
    ["seccomp", () => checks.checkSeccomp(host)],
    ["io-uring", () => checks.checkIoUring(host)],
    ["cgroup", () => checks.checkCgroups(host)],
    ["programs", () => checks.checkPrograms(host)],
    ["python", () => checks.checkPython(host, request)],
    ["disk", () => checks.checkDisk(host, request)],
    ["open-files", () => checks.checkOpenFiles(host)],
    ["docker", () => checks.checkDocker(host, request)],
    ...request.ports.map((port): [string, () => Finding] => [
      `port-${port}`,
      () => checks.checkPort(host, port),
    ]),
  ];
  const findings: Finding[] = [];
  for (const [id, look] of groups) {
    try {
      findings.push(...[await look()].flat());
    } catch (error) {
      const found = `the check itself failed: ${(error as Error).message}`;
      const mend = "report it with this line";
      findings.push({ id, status: "warn", found, disables: "knowing whether it works", mend });
    }
  }
  return { findings, isUsable: findings.every(({ status }) => status !== "fail") };
}

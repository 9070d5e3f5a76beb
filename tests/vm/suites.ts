/**
 * What runs inside the VM: a pure cgroup v2 machine with Linux 6.1. Add a row for a suite whose
 * result may depend on either. An emulated CPU is five to ten times slower and there is no network,
 * no pip and no Docker, so suites that need those stay outside.
 */

/** One `bun test` inside the VM. */
export interface VmSuite {
  readonly name: string;
  /** Files and directories of the project; those that do not exist yet are left out. */
  readonly paths: readonly string[];
  /** Seconds after which the VM ends it. */
  readonly timeoutSec: number;
}

/** In the order in which they run; all together must fit into the VM's time (`run.ts`). */
export const VM_SUITES: readonly VmSuite[] = [
  { name: "machine", paths: ["tests/vm/machine.test.ts"], timeoutSec: 30 },
  { name: "first-lambda", paths: ["tests/vm/first-lambda.test.ts"], timeoutSec: 90 },
  { name: "cgroup", paths: ["tests/unit/cgroup", "tests/integration/cgroup"], timeoutSec: 90 },
];

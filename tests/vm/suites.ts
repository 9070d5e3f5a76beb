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
  /** Regular expression that full names of tests must match; default all. */
  readonly pattern?: string;
}

const escape = (...names: string[]): string[] =>
  names.map((name) => `tests/escape/${name}.test.ts`);

/** The escape tables from a zygote with a package would need pip; see tests/README.md for the rest. */
const WITHOUT_PACKAGES = "^(?!.*forked from zygote)";

/** Bound of one suite: several times what it takes on a quiet machine. */
const SUITE_TIMEOUT_SEC = 240;

const suite = (name: string, paths: readonly string[], pattern?: string): VmSuite => ({
  name,
  paths,
  timeoutSec: SUITE_TIMEOUT_SEC,
  ...(pattern === undefined ? {} : { pattern }),
});

/**
 * Started in this order, two at a time: the longest first. All together must fit into the VM's time
 * (`run.ts`).
 */
export const VM_SUITES: readonly VmSuite[] = [
  suite("machine", ["tests/vm/machine.test.ts"]),
  suite("systemd", ["tests/vm/systemd.test.ts"]),
  suite("abuse", ["tests/e2e/abuse.test.ts"], "^(?!what it returns)"),
  suite("posture", escape("posture", "posture-others", "zygote-posture")),
  suite("kills", ["tests/fault/kills.test.ts", "tests/fault/zygote-kills.test.ts"]),
  suite("privilege", escape("privilege", "syscalls"), WITHOUT_PACKAGES),
  suite("network", escape("network")),
  suite("time", ["tests/e2e/abuse-time.test.ts"], "works on after|daemon in a session"),
  suite("cgroup", ["tests/integration/cgroup"]),
  suite("first-lambda", ["tests/vm/first-lambda.test.ts"]),
];

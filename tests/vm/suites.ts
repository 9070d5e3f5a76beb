/**
 * What runs inside the VM: a pure cgroup v2 machine with Linux 6.1. The lane has a bound of time and so runs the
 * rows of `VM_SUITES`; `--all` runs everything privileged that can run there. `tests/README.md` gives the reasons.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";

import { LANES } from "../lanes/lanes.ts";
import { PROJECT_DIR } from "../helpers/paths.ts";

/** One `bun test` inside the VM. */
export interface VmSuite {
  readonly name: string;
  /** Files and directories of the project. */
  readonly paths: readonly string[];
  /** Seconds after which the VM ends it. */
  readonly timeoutSec: number;
  /** Regular expression that full names of tests must match; default all. */
  readonly pattern?: string;
}

const filesOf =
  (dir: string) =>
  (...names: string[]): string[] =>
    names.map((name) => `tests/${dir}/${name}.test.ts`);
const escape = filesOf("escape");
const fault = filesOf("fault");

/** Bound of one suite: several times what it takes on a quiet machine. */
const SUITE_TIMEOUT_SEC = 480;

/** The same where every file runs, however long it takes. */
const WHOLE_FILE_TIMEOUT_SEC = 1_800;

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
  suite("files", escape("files")),
  suite("privilege", escape("privilege")),
  suite("kills", fault("kills", "zygote-kills")),
  suite("systemd", ["tests/vm/systemd.test.ts"]),
  suite("syscalls", escape("syscalls")),
  suite("abuse", ["tests/e2e/abuse.test.ts"], "^(?!what it returns)"),
  suite("posture", escape("posture", "posture-others", "zygote-posture")),
  suite("cgroup", ["tests/integration/cgroup"]),
  suite("time", ["tests/e2e/abuse-time.test.ts"], "works on after|does not end in runtime_sec"),
  suite("neighbours", escape("neighbours", "frames")),
  suite("network", escape("network")),
  suite("zygotes", fault("zygote-hostile", "zygote-requests", "forks")),
  suite("first-lambda", ["tests/vm/first-lambda.test.ts"]),
  suite("installer", escape("installer", "installer-attempts")),
];

/**
 * Privileged tests that cannot run there, by file below `tests/`: a pattern that leaves out those tests, or null
 * for the whole file.
 */
export const IMPOSSIBLE: Readonly<Record<string, string | null>> = {
  // Docker.
  "e2e/docker": null,
  "escape/docker": null,
  "escape/docker-posture": null,
  "integration/docker/base-image": null,
  "integration/docker/daemon-faults": null,
  "integration/docker/engine": null,
  "integration/docker/image-command": null,
  "integration/docker/options": null,
  "integration/docker/pool": null,
  "integration/sock/dumped-base": null,
  "musl/docker": null,
  // A network.
  "e2e/cache-combinations": null,
  "e2e/declared-modules": null,
  "e2e/real-packages": null,
  "e2e/release": null,
  "integration/packages/real-index": null,
  "integration/packages/table": null,
  "musl/base": null,
  "musl/native": null,
  "musl/sock": null,
  "integration/server/metrics": "^(?!.*promtool)",
  // Times as a real machine has them.
  "e2e/abuse-neighbour": null,
  "bench-smoke/suite": null,
};

const TEST_FILE_SUFFIX = ".test.ts";

/** @returns test files of all privileged lanes but this one, below `tests/` and without `.test.ts`, sorted */
export function privilegedFiles(): string[] {
  return LANES.filter(({ name, privileged }) => privileged && name !== "vm")
    .flatMap(({ dirs }) => dirs)
    .flatMap((dir) =>
      readdirSync(join(PROJECT_DIR, "tests", dir), { recursive: true, encoding: "utf8" }).map(
        (name) => `${dir}/${name}`,
      ),
    )
    .filter((name) => name.endsWith(TEST_FILE_SUFFIX))
    .map((name) => name.slice(0, -TEST_FILE_SUFFIX.length))
    .toSorted();
}

/** @returns one suite for each privileged file that can run in the VM, and those made for it */
export function everySuite(): VmSuite[] {
  const whole = privilegedFiles()
    .filter((name) => IMPOSSIBLE[name] !== null)
    .map((name) =>
      suite(
        name.replaceAll("/", "-"),
        [`tests/${name}${TEST_FILE_SUFFIX}`],
        IMPOSSIBLE[name] ?? undefined,
      ),
    );
  const own = VM_SUITES.filter(({ paths }) => paths.every((path) => path.startsWith("tests/vm/")));
  return [...own, ...whole].map((row) => ({ ...row, timeoutSec: WHOLE_FILE_TIMEOUT_SEC }));
}

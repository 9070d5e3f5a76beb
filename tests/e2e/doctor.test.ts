/** `ol doctor` on this machine with one thing after the other taken away for real. */

import { describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { OL, ol, type RunResult } from "../helpers/ol.ts";
import { requires } from "../helpers/requires.ts";
import { tempDir } from "../helpers/temp-dir.ts";

interface Finding {
  readonly id: string;
  readonly status: string;
  readonly found: string;
  readonly disables: string | null;
  readonly mend: string | null;
}

interface Report {
  readonly usable: boolean;
  readonly findings: readonly Finding[];
}

const asRoot = requires({ root: true, programs: ["unshare", "mount", "setpriv"] });

function reportOf({ stdout }: RunResult): Report {
  return JSON.parse(stdout) as Report;
}

function findingOf(report: Report, id: string): Finding {
  const found = report.findings.find((finding) => finding.id === id);
  if (found === undefined) throw new Error(`no ${id} in ${JSON.stringify(report)}`);
  return found;
}

/** Runs `ol doctor --json` in a mount namespace of its own, after a shell script has changed it. */
async function doctorAfter(script: string): Promise<{ result: RunResult; report: Report }> {
  const command = `set -e; ${script}; exec ${OL} doctor --json`;
  const result = await ol(["--mount", "--propagation", "private", "sh", "-c", command], {
    program: "/usr/bin/unshare",
  });
  return { result, report: reportOf(result) };
}

describe("ol doctor", () => {
  asRoot("finds sandboxes possible here and exits 0", async () => {
    const result = await ol(["doctor", "--json"]);
    const report = reportOf(result);
    expect(report.findings.filter(({ status }) => status === "fail")).toEqual([]);
    expect([report.usable, result.exitCode]).toEqual([true, 0]);
  });

  asRoot("prints the same for people, one line each and a summary", async () => {
    const { stdout, exitCode } = await ol(["doctor"]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^ok {4}user {11}runs as root$/m);
    expect(stdout).toMatch(/^(All is well|Sandboxes can be made here; \d+ to look at)\n$/m);
  });

  asRoot("tells an ordinary user to become root, and exits 1", async () => {
    using dir = tempDir();
    // The executable may lie where only root can go.
    const copy = dir.join("ol");
    await Bun.write(copy, Bun.file(OL));
    chmodSync(dir.path, 0o755);
    chmodSync(copy, 0o755);
    const result = await ol(
      ["--reuid=65534", "--regid=65534", "--clear-groups", copy, "doctor", "--json"],
      { program: "/usr/bin/setpriv", env: { HOME: "/tmp" } },
    );
    const report = reportOf(result);
    expect(findingOf(report, "user")).toMatchObject({
      status: "fail",
      mend: expect.stringContaining("sudo"),
    });
    expect(findingOf(report, "mount-calls").status).toBe("skip");
    expect(result.exitCode).toBe(1);
  });

  asRoot("without any cgroup file system names each controller and how to mount it", async () => {
    const { result, report } = await doctorAfter("mount -t tmpfs none /sys/fs/cgroup");
    for (const id of ["cgroup-memory", "cgroup-cpu", "cgroup-pids", "cgroup-freezer"]) {
      expect(findingOf(report, id)).toMatchObject({
        status: "fail",
        mend: expect.stringContaining("mount -t cgroup"),
      });
    }
    expect([report.usable, result.exitCode]).toEqual([false, 1]);
  });

  asRoot("with a read-only cgroup file system names the remount", async () => {
    const script =
      "for m in $(findmnt -nro TARGET -t cgroup,cgroup2); do mount -o remount,bind,ro $m; done";
    const { result, report } = await doctorAfter(script);
    expect(findingOf(report, "cgroup-memory")).toMatchObject({
      status: "fail",
      mend: expect.stringContaining("remount,rw"),
    });
    expect(result.exitCode).toBe(1);
  });

  asRoot("without Python names the package", async () => {
    const script =
      "for p in /usr/bin /usr/local/bin; do [ -e $p/python3 ] && mount --bind /dev/null $(readlink -f $p/python3) || true; done";
    const { result, report } = await doctorAfter(script);
    expect(findingOf(report, "python")).toMatchObject({
      status: "fail",
      mend: expect.stringContaining("apt-get install python3"),
    });
    expect(findingOf(report, "pip").status).toBe("skip");
    expect(result.exitCode).toBe(1);
  });

  asRoot("without pip only warns, and says what does not work", async () => {
    const script =
      "for d in /usr/lib/python3/dist-packages/pip /usr/lib/python3/site-packages/pip /usr/local/lib/python3*/dist-packages/pip; do [ -d $d ] && mount -t tmpfs none $d || true; done";
    const { result, report } = await doctorAfter(script);
    expect(findingOf(report, "pip")).toMatchObject({
      status: "warn",
      disables: "lambdas with PyPI packages",
    });
    expect(result.exitCode).toBe(0);
  });

  asRoot("with user namespaces forbidden names the sysctl", async () => {
    // The limit counts per user namespace: a nested one may lower its own without touching the host.
    const script = "echo 0 > /proc/sys/user/max_user_namespaces";
    const result = await ol(
      ["--user", "--map-root-user", "--mount", "sh", "-c", `${script}; exec ${OL} doctor --json`],
      { program: "/usr/bin/unshare" },
    );
    const finding = findingOf(reportOf(result), "namespaces");
    expect(finding).toMatchObject({
      status: "fail",
      mend: expect.stringContaining("sysctl -w user.max_user_namespaces="),
    });
    expect(result.exitCode).toBe(1);
  });

  asRoot("with a full disk warns", async () => {
    const { report } = await doctorAfter(
      "mkdir -p /mnt; mount -t tmpfs -o size=1m none /mnt; cd /mnt",
    );
    expect(findingOf(report, "disk").status).toBe("warn");
  });

  test("with a port taken says which, and how to go on", async () => {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const { stdout } = await ol(["doctor", "--json", `--port=${listener.port}`]);
    listener.stop(true);
    const finding = findingOf(JSON.parse(stdout) as Report, `port-${listener.port}`);
    expect(finding).toMatchObject({ status: "warn", mend: expect.stringContaining("--port") });
  });

  test("without PATH names the programs that are missing", async () => {
    using dir = tempDir();
    const result = await ol(["doctor", "--json"], { env: { PATH: dir.path } });
    const report = reportOf(result);
    expect(findingOf(report, "programs").mend).toContain("apt-get install");
    expect(findingOf(report, "namespaces").status).toBe("skip");
    expect(result.exitCode).toBe(1);
  });

  test("refuses a port that is none with status 2", async () => {
    const { exitCode, stderr } = await ol(["doctor", "--port=65536"]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("65536")]);
  });
});

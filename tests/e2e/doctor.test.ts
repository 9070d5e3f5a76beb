/** `ol doctor` on this machine as it is; what it says of one that lacks something is in `doctor-lacks.test.ts`. */

import { describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import type { Finding, Report } from "../helpers/doctor-report.ts";
import { OL, ol, olDone, type RunResult } from "../helpers/ol.ts";
import { requires } from "../helpers/requires.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";

const asRoot = requires({ root: true, programs: ["unshare", "setpriv"] });

/** The executable where anybody may run it. */
async function copyOl(dir: TempDir): Promise<string> {
  const copy = dir.join("ol");
  await Bun.write(copy, Bun.file(OL));
  chmodSync(dir.path, 0o755);
  chmodSync(copy, 0o755);
  return copy;
}

const AS_NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];

function reportOf({ stdout }: RunResult): Report {
  return JSON.parse(stdout) as Report;
}

function findingOf(report: Report, id: string): Finding {
  const found = report.findings.find((finding) => finding.id === id);
  if (found === undefined) throw new Error(`no ${id} in ${JSON.stringify(report)}`);
  return found;
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
    const result = await ol([...AS_NOBODY, await copyOl(dir), "doctor", "--json"], {
      program: "/usr/bin/setpriv",
      env: { HOME: "/tmp" },
    });
    const report = reportOf(result);
    expect(findingOf(report, "user")).toMatchObject({
      status: "fail",
      mend: expect.stringContaining("sudo"),
    });
    expect(findingOf(report, "mount-calls").status).toBe("skip");
    expect(result.exitCode).toBe(1);
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

  test("with a port taken says which, and how to go on", async () => {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const { stdout } = await ol(["doctor", "--json", `--port=${listener.port}`]);
    listener.stop(true);
    const finding = findingOf(JSON.parse(stdout) as Report, `port-${listener.port}`);
    expect(finding).toMatchObject({ status: "warn", mend: expect.stringContaining("--port") });
  });

  test("without Docker says what does not need it, and how to get it", async () => {
    using dir = tempDir();
    const env = { DOCKER_HOST: `unix://${dir.join("none.sock")}` };
    const result = await ol(["doctor", "--json"], { env });
    expect(findingOf(reportOf(result), "docker")).toMatchObject({
      status: "warn",
      found: expect.stringMatching(/none\.sock \(ENOENT\)$/),
      disables: expect.stringContaining('"sock" does not need it'),
      mend: expect.stringContaining("apt-get install docker.io"),
    });
  });

  asRoot("looks for Docker where the cluster's setting says, and finds it there", async () => {
    using dir = tempDir();
    const cluster = `--cluster=${dir.join("cluster")}`;
    const socket = dir.join("docker.sock");
    await olDone(["new", cluster]);
    await olDone(["setconf", cluster, JSON.stringify({ docker: { socket } })]);
    const askedAs = async (program: string, ...args: string[]): Promise<Finding> =>
      findingOf(reportOf(await ol(args, { program, env: { HOME: "/tmp" } })), "docker");
    expect(await askedAs(OL, "doctor", "--json", cluster)).toMatchObject({
      status: "warn",
      found: expect.stringContaining(socket),
    });
    const daemon = Bun.serve({ unix: socket, fetch: () => new Response("OK") });
    try {
      expect((await askedAs(OL, "doctor", "--json", cluster)).status).toBe("ok");
      chmodSync(socket, 0o600);
      const copy = await copyOl(dir);
      const asked = ["/usr/bin/env", `DOCKER_HOST=unix://${socket}`, copy, "doctor", "--json"];
      expect(await askedAs("/usr/bin/setpriv", ...AS_NOBODY, ...asked)).toMatchObject({
        status: "warn",
        mend: expect.stringContaining("group docker"),
      });
    } finally {
      await daemon.stop(true);
    }
  });

  test("refuses a port that is none with status 2", async () => {
    const { exitCode, stderr } = await ol(["doctor", "--port=65536"]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("65536")]);
  });
});

/** What a lambda can reach: part of the contract that every engine keeps. */

import { expect, test } from "bun:test";
import { constants } from "node:os";
import { type Bench } from "./bench.ts";

/** What a lambda can reach. */
export function describeIsolation(bench: Bench): void {
  test("create() leaves a lambda without any privilege", async () => {
    const code = `
import os
def handler(event):
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    groups = set(os.getgroups()) - {os.getgid()}
    return [os.getuid() != 0 and os.getgid() != 0, sorted(groups), [status[name] for name in names]]
`;
    const none = "0000000000000000";
    const expected = [none, none, none, none, none, "1", "2"];
    expect(await bench.once(code)).toEqual([true, [], expected]);
  });

  test("create() lets a lambda write to its scratch space and nowhere else", async () => {
    const code = `
import os
def handler(event):
    found = {}
    for place in event:
        try:
            open(place + "/made", "w").write("x")
            found[place] = 0
        except OSError as error:
            found[place] = error.errno
    return found
`;
    const places = [
      "/handler",
      "/packages",
      "/usr",
      "/etc",
      "/",
      "/proc/sys/kernel",
      "/run",
      "/dev",
    ];
    const found = (await bench.once(code, [...places, "/host", "/tmp", "/dev/shm"])) as Record<
      string,
      number
    >;
    for (const place of places) expect(found[place]).toBeOneOf([1, 2, 13, 30]);
    for (const place of ["/host", "/tmp", "/dev/shm"]) expect(found[place]).toBe(0);
  });
  describeSurroundings(bench);
}

function describeSurroundings(bench: Bench): void {
  test("create() hides the host's files and processes", async () => {
    const code = `
import os
def handler(event):
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    seen = [place for place in event if os.path.exists(place)]
    return [len(pids), seen]
`;
    const secrets = [bench.dir, "/root/.ssh", "/var/run/docker.sock", `/proc/1/root${bench.dir}`];
    expect(await bench.once(code, secrets)).toEqual([1, []]);
  });

  test("create() without a network reaches nobody", async () => {
    using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("host") });
    const code = `
import socket
def handler(event):
    try:
        socket.create_connection(("127.0.0.1", event), 2).close()
        return 0
    except OSError as error:
        return error.errno or -1
`;
    expect(await bench.once(code, server.port)).toBeOneOf([101, 111]);
    const outside = await fetch(`http://127.0.0.1:${server.port}/`);
    expect(await outside.text()).toBe("host");
  });

  test("create() refuses namespaces, mounts, tracing and keys", async () => {
    const code = `
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def make_device():
    try:
        os.mknod("/tmp/device", 0o20666, os.makedev(1, 3))
        return 0
    except OSError as error:
        return error.errno
def handler(event):
    def attempt(name, *arguments):
        return 0 if getattr(libc, name)(*arguments) >= 0 else ctypes.get_errno()
    return {
        "unshare": attempt("unshare", 0x10000000),
        "mount": attempt("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "umount": attempt("umount2", b"/handler", 2),
        "setuid": attempt("setuid", 0),
        "chroot": attempt("chroot", b"/tmp"),
        "keyctl": attempt("syscall", 250, 0, -3, 0, 0, 0),
        "mknod": make_device(),
    }
`;
    const found = (await bench.once(code)) as Record<string, number>;
    const refused = Object.keys(found).map((name) => [name, constants.errno.EPERM]);
    expect(found).toEqual(Object.fromEntries(refused));
  });
}

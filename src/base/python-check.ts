/**
 * Proves that a base has a Python that the guest can run on, by running it there: without rights, in
 * namespaces of its own, because an image is somebody else's program.
 */

import { lstatSync } from "node:fs";
import { OlError } from "../common/errors.ts";
import { BASE_CHECK_TIMEOUT_MS } from "../common/limits.ts";
import type { BaseBind, BaseKind, BaseManifest } from "./manifest.ts";

/** What the check found out. */
export type PythonFacts = Pick<BaseManifest, "python" | "pythonVersion" | "libc" | "pipVersion">;

/** Official images have theirs in /usr/local; a host's /usr/local is the operator's own affair. */
const CANDIDATES: Readonly<Record<"host" | "image", readonly string[]>> = {
  host: ["/usr/bin/python3", "/bin/python3", "/usr/local/bin/python3"],
  image: ["/usr/local/bin/python3", "/usr/bin/python3", "/bin/python3"],
};

/** What the guest imports; a distribution may have split some of them off (Debian's python3-minimal). */
export const GUEST_MODULES = [
  "_signal",
  "array",
  "builtins",
  "ctypes",
  "encodings.idna",
  "errno",
  "fcntl",
  "gc",
  "importlib.abc",
  "importlib.machinery",
  "importlib.util",
  "io",
  "json",
  "linecache",
  "marshal",
  "os",
  "platform",
  "random",
  "resource",
  "select",
  "signal",
  "socket",
  "struct",
  "sys",
  "threading",
  "time",
  "traceback",
  "types",
];

/** Runs inside; says everything in one line of JSON. */
const PROGRAM = `
import sys
missing = []
for name in sys.argv[1].split(","):
    try:
        __import__(name)
    except ImportError as error:
        missing.append(name + " (" + str(error) + ")")
facts = {
    "implementation": sys.implementation.name,
    "version": list(sys.version_info[:3]),
    "missing": missing,
    "libc": "unknown",
    "pip": None,
}
if not missing:
    import ctypes, os
    libc = ctypes.CDLL(None)
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
        facts["libc"] = "glibc"
    except (ValueError, OSError):
        facts["libc"] = "musl" if os.path.exists("/lib") and any(
            name.startswith("ld-musl-") for name in os.listdir("/lib")) else "unknown"
    try:
        from importlib.metadata import version
        facts["pip"] = version("pip")
    except ImportError:
        pass
import json
print(json.dumps(facts))
`;

/** Puts the binds on top of the root in a mount namespace of its own, drops all rights, enters it. */
const ENTER = `
set -e
root=$1; python=$2; program=$3; modules=$4; shift 4
while [ $# -gt 0 ]; do mount --rbind "$1" "$root$2"; shift 2; done
exec chroot --userspec=+65534:+65534 --groups= "$root" "$python" -I -B -c "$program" "$modules"
`;

const UNSHARE = [
  "unshare",
  "--mount",
  "--propagation",
  "private",
  "--pid",
  "--fork",
  "--kill-child",
].concat(["--net", "--ipc", "--uts"]);

interface Answer {
  readonly implementation: string;
  readonly version: readonly [number, number, number];
  readonly missing: readonly string[];
  readonly libc: PythonFacts["libc"];
  readonly pip: string | null;
}

/**
 * @param root directory that becomes `/`
 * @param binds what comes on top
 * @param kind where to look first
 * @returns the first Python that works
 * @throws {OlError} base_invalid, with the reason for each that does not
 */
export async function checkPython(
  root: string,
  binds: readonly BaseBind[],
  kind: BaseKind,
): Promise<PythonFacts> {
  const reasons: string[] = [];
  for (const python of CANDIDATES[kind === "host" ? "host" : "image"]) {
    if (!mayExist(root, binds, python)) continue;
    const answer = await tryPython(root, binds, python);
    const reason = typeof answer === "string" ? answer : judge(answer);
    if (reason === null && typeof answer !== "string") {
      return {
        python,
        pythonVersion: answer.version.join("."),
        libc: answer.libc,
        pipVersion: answer.pip,
      };
    }
    reasons.push(`${python} ${reason}`);
  }
  const state = reasons.length === 0 ? "it has no python3" : reasons.join("; ");
  const hint = kind === "host" ? ' (Debian and Ubuntu: "apt-get install python3")' : "";
  throw new OlError(
    "base_invalid",
    `Cannot use this base: ${state}, wanted CPython 3.8 or newer with its standard library${hint}`,
    { op: "base.check" },
  );
}

/** Cheap look before a process is spent; links are left to the kernel, inside. */
function mayExist(root: string, binds: readonly BaseBind[], python: string): boolean {
  const bind = binds.find((it) => python.startsWith(`${it.target}/`));
  const host = bind === undefined ? root + python : bind.source + python.slice(bind.target.length);
  return lstatSync(host, { throwIfNoEntry: false }) !== undefined;
}

function judge(answer: Answer): string | null {
  const [major, minor] = answer.version;
  if (answer.implementation !== "cpython") return `is ${answer.implementation}`;
  if (major !== 3 || minor < 8) return `is version ${answer.version.join(".")}`;
  if (answer.missing.length > 0) return `lacks ${answer.missing.join(", ")}`;
  return null;
}

/** @returns its answer, or in words why there is none */
async function tryPython(
  root: string,
  binds: readonly BaseBind[],
  python: string,
): Promise<Answer | string> {
  const pairs = binds.flatMap((it) => [it.source, it.target]);
  const child = Bun.spawn({
    cmd: [
      ...UNSHARE,
      "sh",
      "-c",
      ENTER,
      "sh",
      root,
      python,
      PROGRAM,
      GUEST_MODULES.join(","),
      ...pairs,
    ],
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
    cwd: "/",
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: BASE_CHECK_TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (exitCode !== 0) {
    const words = stderr.trim().split("\n").at(-1) ?? "";
    return `does not run: ${words === "" ? `exit status ${exitCode}` : words}`;
  }
  const answer = parseAnswer(stdout);
  return answer ?? "gives a strange answer";
}

function parseAnswer(text: string): Answer | null {
  let value: Partial<Record<keyof Answer, unknown>> | null;
  try {
    value = JSON.parse(text) as Partial<Record<keyof Answer, unknown>> | null;
  } catch {
    return null;
  }
  const version = value?.version;
  const well =
    typeof value?.implementation === "string" &&
    Array.isArray(version) &&
    version.length === 3 &&
    version.every((part) => Number.isInteger(part)) &&
    Array.isArray(value.missing) &&
    (value.libc === "glibc" || value.libc === "musl" || value.libc === "unknown") &&
    (value.pip === null || typeof value.pip === "string");
  return well ? (value as Answer) : null;
}

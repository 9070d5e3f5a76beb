/** What `npm run release` makes: complete, checkable, and enough by itself on a bare Debian. */

import { afterAll, beforeAll, expect } from "bun:test";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

import packageJson from "../../package.json";
import { debianTarball } from "../helpers/base-image.ts";
import { freePorts } from "../helpers/free-port.ts";
import { expectNoLeaks, leakSnapshot } from "../helpers/leaks.ts";
import { PROJECT_DIR } from "../helpers/paths.ts";
import { requires } from "../helpers/requires.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";

const test = requires({ root: true });

const TARGET = process.arch === "arm64" ? "linux-arm64" : "linux-x64";
const NAME = `ol-${packageJson.version}-${TARGET}`;

let temp: TempDir;
let dist = "";

beforeAll(() => {
  temp = tempDir("ol-release-");
  dist = temp.join("dist");
  run([process.execPath, ".ci/release.ts", `--out=${dist}`, TARGET], PROJECT_DIR);
}, 120_000);
afterAll(() => temp.remove());

function run(argv: string[], cwd = "/"): string {
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: process.env["HOME"] };
  const result = Bun.spawnSync(argv, { cwd, env, timeout: 100_000 });
  if (result.exitCode === 0) return result.stdout.toString();
  throw new Error(
    `${argv[0]} ended with ${result.exitCode}: ${result.stdout.toString()}${result.stderr.toString()}`,
  );
}

test("npm run release makes executables, checksums that hold, and licences", () => {
  expect(packageJson.scripts.release).toContain(".ci/release.ts");
  expect(readdirSync(dist).toSorted()).toEqual(["LICENCES.txt", "LICENSE", "SHA256SUMS", NAME]);
  expect(run(["sha256sum", "--check", "SHA256SUMS"], dist)).toBe(
    `${NAME}: OK\nLICENCES.txt: OK\nLICENSE: OK\n`,
  );
  expect(run([temp.join("dist", NAME), "--version"])).toBe(`ol ${packageJson.version}\n`);
});

test("the licences name Bun, every runtime dependency, and nothing that only developers use", () => {
  const text = readFileSync(temp.join("dist/LICENCES.txt"), "utf8");
  const listed = [...text.matchAll(/^- (\S+) (\S+): (\S.*)$/gm)];
  const names = new Set(listed.map(([, name]) => name));
  for (const [name, version] of Object.entries(packageJson.dependencies)) {
    expect(text).toContain(`\n- ${name} ${version}: `);
  }
  for (const name of ["bun", "typescript", "oxlint", "fast-check", "mitata", "knip"]) {
    expect(names.has(name)).toBe(false);
  }
  expect(listed.map(([, , , licence]) => licence)).not.toContain("undefined");
  expect(text).toContain("JavaScriptCore");
  expect(text).toContain("Permission is hereby granted, free of charge");
});

/**
 * Runs in a mount namespace of its own, so that nothing of it is left when the script ends, and with the
 * bare system as its root: in a mere chroot the kernel grants no user namespace. The machine's
 * places for workers are shared with it: it must not take the cgroups of a worker outside for leftovers.
 */
const QUICKSTART = `
set -eu
root=$1 port=$2
mkdir -p /run/openlambda && chmod 700 /run/openlambda
mkdir -p "$root/run/openlambda"
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount --bind /run/openlambda "$root/run/openlambda"
cat > "$root/quickstart.sh" <<'END'
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd /root
ol new --cluster=my-cluster >&2
trap 'ol kill --cluster=my-cluster >&2' EXIT
mkdir my-cluster/registry/hello
printf 'import sys\\ndef handler(event):\\n    return "Hello, %%s, from %%d" %% (event, sys.version_info[0])\\n' \\
  > my-cluster/registry/hello/lambda_func.py
ol workers --cluster=my-cluster --port="$1" >&2
ol invoke --cluster=my-cluster hello '"Debian"'
ol status --cluster=my-cluster
END
mkdir "$root/old"
cd "$root"
pivot_root . old
exec chroot . /bin/sh -c 'umount -l /old && exec /bin/sh /quickstart.sh "$0"' "$port"
`;

test("the executable alone passes the quickstart on a bare Debian with python3", async () => {
  const before = leakSnapshot();
  const root = temp.join("root");
  mkdirSync(root);
  run(["tar", "-C", root, "-xf", debianTarball("bookworm")]);
  copyFileSync(temp.join("dist", NAME), temp.join("root/usr/bin/ol"));
  writeFileSync(temp.join("quickstart.sh"), QUICKSTART);
  const port = await freePorts();
  const argv = ["unshare", "--mount", "sh", temp.join("quickstart.sh"), root, String(port)];
  const lines = run(argv).split("\n");
  expect(lines.slice(0, 3)).toEqual([
    '"Hello, Debian, from 3"',
    "Worker Pings:",
    `  http://localhost:${port}/status => ready [200 OK]`,
  ]);
  await expectNoLeaks(before, { marks: [temp.path, "/root/my-cluster"] });
}, 180_000);

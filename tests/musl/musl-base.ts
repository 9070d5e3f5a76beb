/**
 * A root file system whose libc is musl, laid out as Alpine's: there is no index of Alpine packages that every
 * test machine reaches, so Python is compiled from Debian's sources with Debian's musl. Built once into `musl/`
 * of `CACHE_DIR`; a change of the recipe builds a new one.
 *
 * Python's own extension modules are linked into it, because its build finds headers and libraries of the
 * machine's libc where it looks for those of shared ones. Wheels for musl are downloaded beside it: their
 * extension modules are shared.
 */

import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

import { mirror } from "../helpers/base-image.ts";
import { cachedBuild } from "../helpers/cached-build.ts";
import { runTool } from "../helpers/run-tool.ts";

const MACHINE = process.arch === "arm64" ? "aarch64" : "x86_64";

/** The dynamic linker, which is the library as well. */
export const MUSL_LOADER = `/lib/ld-musl-${MACHINE}.so.1`;

/** Where the interpreter lies in the base. */
export const MUSL_PYTHON = "/usr/bin/python3.11";

/** Has this Python, wherever the tests run. */
const SOURCE_RELEASE = "bookworm";
const SOURCES = ["python3.11", "libffi", "zlib"] as const;

const PIP_WHEELS = "/usr/share/python-wheels";

/** Lines of Python's Modules/Setup: what the guest and pip import, and what else lambdas use every day. */
const MODULES = (
  "_asyncio _bisect _blake2 _contextvars _csv _ctypes _datetime _elementtree _heapq _json _md5 _multiprocessing " +
  "_opcode _pickle _posixshmem _posixsubprocess _queue _random _sha1 _sha256 _sha3 _sha512 _socket _statistics " +
  "_struct _typing _zoneinfo array binascii cmath fcntl grp math mmap pyexpat resource select termios " +
  "unicodedata zlib"
).split(" ");

/** Large, and nothing that a sandbox uses. */
const PRUNED = ["test", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip"];

/** Packages with native code that musl has wheels of. numpy brings OpenBLAS, libgfortran and threads. */
const NATIVE = ["numpy==1.26.4", "markupsafe==2.1.5"];
const WHEEL_PLATFORM = `musllinux_1_1_${MACHINE}`;

/** For whatever needs the base: sources are downloaded and compiled at their first use. */
export const BUILD_TIMEOUT_MS = 540_000;

/** What was built. */
export interface MuslBase {
  /** The root file system, for `--base=dir:`. */
  readonly root: string;
  /** The same as a tar file. */
  readonly tarball: string;
  /** Wheels of `NATIVE`, for `PIP_FIND_LINKS`. */
  readonly wheels: string;
}

/** gcc names the machine's own libc when it is asked, and Python's configure compares. */
const COMPILER = `#!/bin/sh
[ "$*" = --print-multiarch ] && exec echo ${MACHINE}-linux-musl
exec musl-gcc "$@"
`;

/** Downloads sources with package lists of our own: the machine's may not name sources. */
function fetchSources(dir: string): void {
  for (const name of ["lists/partial", "cache/archives/partial"]) {
    mkdirSync(join(dir, name), { recursive: true });
  }
  writeFileSync(join(dir, "sources.list"), `deb-src ${mirror()} ${SOURCE_RELEASE} main\n`);
  const options = [
    "APT::Sandbox::User=root",
    `Dir::Etc::sourcelist=${join(dir, "sources.list")}`,
    "Dir::Etc::sourceparts=/dev/null",
    `Dir::State::lists=${join(dir, "lists")}`,
    `Dir::Cache=${join(dir, "cache")}`,
  ].flatMap((option) => ["-o", option]);
  runTool(["apt-get", "-q", "-y", ...options, "update"], dir);
  runTool(["apt-get", "-q", "-y", ...options, "source", "--download-only", ...SOURCES], dir);
  for (const name of SOURCES) {
    const archive = readdirSync(dir).find(
      (file) => file.startsWith(`${name}_`) && /\.orig\.tar\.[a-z0-9]+$/u.test(file),
    );
    if (archive === undefined) throw new Error(`apt-get brought no source of ${name}`);
    mkdirSync(join(dir, name));
    runTool(["tar", "-xf", archive, "--strip-components=1", "-C", name], dir);
  }
}

/** Compiles in one directory of sources. */
class Compiler {
  readonly #prefix: string;
  readonly #env: Readonly<Record<string, string>>;

  /** @param dir gets the compiler, headers of the kernel, and libraries */
  constructor(dir: string) {
    this.#prefix = join(dir, "prefix");
    const include = join(this.#prefix, "include");
    for (const name of [include, join(this.#prefix, "lib")]) mkdirSync(name, { recursive: true });
    // musl-gcc looks for nothing in /usr/include, where headers of another libc lie among these.
    const multiarch = runTool(["gcc", "-print-multiarch"], dir).trim();
    symlinkSync("/usr/include/linux", join(include, "linux"));
    symlinkSync("/usr/include/asm-generic", join(include, "asm-generic"));
    symlinkSync(`/usr/include/${multiarch}/asm`, join(include, "asm"));
    writeFileSync(join(dir, "cc"), COMPILER, { mode: 0o755 });
    this.#env = {
      CC: join(dir, "cc"),
      CFLAGS: "-O1 -fPIC",
      CPPFLAGS: `-I${include}`,
      LDFLAGS: `-L${join(this.#prefix, "lib")}`,
    };
  }

  configure(source: string, args: readonly string[]): void {
    runTool(["./configure", ...args], source, this.#env);
  }

  /** In the background of the machine, on all its processors unless `MAKEFLAGS` says otherwise. */
  make(source: string, targets: readonly string[]): void {
    const jobs = process.env["MAKEFLAGS"] === undefined ? [`-j${availableParallelism()}`] : [];
    runTool(["nice", "-n", "19", "make", "-s", ...jobs, ...targets], source, this.#env);
  }

  /** Static, so that nothing of them has to come along. */
  libraries(dir: string): void {
    const [ffi, zlib] = [join(dir, "libffi"), join(dir, "zlib")];
    const prefix = `--prefix=${this.#prefix}`;
    this.configure(ffi, [prefix, "--disable-shared", "--disable-multi-os-directory"]);
    this.make(ffi, ["install"]);
    this.configure(zlib, [prefix, "--static"]);
    this.make(zlib, ["libz.a"]);
    copyFileSync(join(zlib, "libz.a"), join(this.#prefix, "lib/libz.a"));
    for (const name of ["zlib.h", "zconf.h"]) {
      copyFileSync(join(zlib, name), join(this.#prefix, "include", name));
    }
  }

  python(source: string): void {
    this.configure(source, ["--prefix=/usr", "--without-ensurepip", "--with-system-ffi"]);
    const setup = readFileSync(join(source, "Modules/Setup"), "utf8").split("\n");
    const lines = MODULES.map((name) => {
      const line = setup.find((it) => it.startsWith(`#${name} `));
      if (line === undefined) throw new Error(`This Python has no module ${name} to be built in`);
      return line.slice(1);
    });
    writeFileSync(join(source, "Modules/Setup.local"), `*static*\n${lines.join("\n")}\n`);
    this.make(source, ["python", "pybuilddir.txt"]);
  }
}

function pipWheel(): string {
  const name = readdirSync(PIP_WHEELS).find((it) => /^pip-.*\.whl$/u.test(it));
  if (name === undefined) throw new Error(`There is no wheel of pip in ${PIP_WHEELS}`);
  return join(PIP_WHEELS, name);
}

/** What `make install` would do, without the tests of Python and without shared modules, which are not there. */
function install(source: string, root: string): void {
  const library = join(root, "usr/lib/python3.11");
  const dirs = ["etc", "lib", "usr/bin", "usr/lib"].map((name) => join(root, name));
  for (const dir of dirs) mkdirSync(dir, { recursive: true });
  copyFileSync(realpathSync(MUSL_LOADER), join(root, MUSL_LOADER));
  runTool(["strip", "-o", join(root, MUSL_PYTHON), join(source, "python")], source);
  symlinkSync("python3.11", join(root, "usr/bin/python3"));
  runTool(["cp", "-r", join(source, "Lib"), library], source);
  for (const name of PRUNED) rmSync(join(library, name), { recursive: true, force: true });
  // Python looks for this directory to tell that it is installed.
  mkdirSync(join(library, "lib-dynload"));
  const built = join(source, readFileSync(join(source, "pybuilddir.txt"), "utf8").trim());
  for (const name of readdirSync(built).filter((it) => it.startsWith("_sysconfigdata_"))) {
    copyFileSync(join(built, name), join(library, name));
  }
  const packages = join(library, "site-packages");
  mkdirSync(packages, { recursive: true });
  runTool(["python3", "-m", "zipfile", "-e", pipWheel(), packages], source);
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\n");
  // Each program would compile what it imports anew: sandboxes cannot write it down.
  const compile = ["-I", "-m", "compileall", "-q", "/usr/lib/python3.11"];
  runTool(["chroot", root, MUSL_PYTHON, ...compile], "/");
}

function fetchWheels(dir: string): void {
  mkdirSync(dir);
  const which = ["--no-deps", "--only-binary=:all:", "--python-version=3.11"];
  const download = ["-m", "pip", "download", "-q", `--platform=${WHEEL_PLATFORM}`, ...which];
  runTool(["python3", ...download, ...NATIVE], dir);
  for (const name of readdirSync(dir)) chmodSync(join(dir, name), 0o644);
}

/**
 * Builds the base where it is missing: some two minutes.
 * @returns where it lies
 * @throws {Error} with the failing tool's words
 */
export function ensureMuslBase(): MuslBase {
  const dir = cachedBuild("musl", [import.meta.path, MUSL_LOADER, pipWheel()], (staging) => {
    const work = join(staging, "work");
    mkdirSync(work);
    fetchSources(work);
    const compiler = new Compiler(work);
    compiler.libraries(work);
    compiler.python(join(work, "python3.11"));
    install(join(work, "python3.11"), join(staging, "root"));
    runTool(["tar", "-C", "root", "-cf", "root.tar", "."], staging);
    fetchWheels(join(staging, "wheels"));
    rmSync(work, { recursive: true });
  });
  return {
    root: join(dir, "root"),
    tarball: join(dir, "root.tar"),
    wheels: join(dir, "wheels"),
  };
}

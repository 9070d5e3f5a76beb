"""The floor under every cold start: what the kernel and CPython alone cost on this machine.

One line of JSON on stdin asks for a batch, one line on stdout answers with microseconds. A batch is
timed in here, so that neither pipes nor the asking process are part of a sample. What is forked is
a Python with the modules loaded that a handler process has as well: the page tables to copy are alike.

Variants:
  fork             fork, the child exits, wait
  namespaces       clone with new pid, mount, uts and ipc namespaces, exit, wait (the bare floor)
  userns           the same with user and cgroup namespaces
  network          the same as userns with a network namespace
  spawn            vfork and exec of /bin/true, wait (what any exec costs)
  python           python3 -c pass
  python-isolated  python3 -I -S -c pass (the least start an interpreter has)
  chroot-python    chroot BASE python3 -I -S -c pass
  import           fork, the child imports the modules in "modules", wait
"""

import ctypes
import importlib
import json
import linecache  # noqa: F401 - loaded to be forked, as in the guest
import marshal  # noqa: F401
import os
import platform
import selectors  # noqa: F401
import signal
import socket  # noqa: F401
import struct  # noqa: F401
import sys
import time
import traceback  # noqa: F401
import types  # noqa: F401

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

SYS_CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]
FLOOR = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
CLONE_FLAGS = {
    "namespaces": FLOOR,
    "userns": FLOOR | CLONE_NEWUSER | CLONE_NEWCGROUP,
    "network": FLOOR | CLONE_NEWUSER | CLONE_NEWCGROUP | CLONE_NEWNET,
}

# PyDLL keeps the interpreter lock across the call, which a clone needs; CDLL would drop it.
LIBC = ctypes.PyDLL(None, use_errno=True)
SYSCALL = LIBC.syscall
SYSCALL.restype = ctypes.c_long
SYSCALL.argtypes = [ctypes.c_long] * 6
MOUNT = LIBC.mount
MOUNT.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p]
API = ctypes.pythonapi


def clone(flags):
    """Forks this Python with namespaces, the way os.fork does it, and returns as fork does."""
    API.PyOS_BeforeFork()
    pid = SYSCALL(SYS_CLONE, flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        API.PyOS_AfterFork_Child()
    else:
        API.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    return pid


def wait(pid):
    """Reaps a child and insists that it went well."""
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise RuntimeError(f"a child ended with wait status {status}")


def exits():
    """What the forked child does."""
    os._exit(0)


def forking(start):
    """One sample of a fork: from before it to after the child is reaped."""

    def once():
        pid = start()
        if pid == 0:
            exits()
        wait(pid)

    return once


def spawning(argv):
    """One sample of starting a program: posix_spawn is a vfork, so this Python's size is no part of it."""
    nothing = os.open("/dev/null", os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, nothing, fd) for fd in (0, 1, 2)]

    def once():
        wait(os.posix_spawn(argv[0], argv, {"PATH": "/usr/bin:/bin"}, file_actions=actions))

    return once


def importing(modules, path):
    """One sample of importing without any cache of modules: in a fork, so that each is the first."""

    def once():
        pid = os.fork()
        if pid == 0:
            try:
                sys.path[:0] = path
                for module in modules:
                    importlib.import_module(module)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        wait(pid)

    return once


def make_base(target):
    """A root like that of a cluster: the host's programs, bound. Lives in this process's mounts only."""
    if LIBC.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if MOUNT(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "mount private")
    for name in ("usr", "bin", "sbin", "lib", "lib64"):
        source, inside = f"/{name}", os.path.join(target, name)
        if os.path.islink(source):
            os.symlink(os.readlink(source), inside)
        elif os.path.isdir(source):
            os.mkdir(inside)
            if MOUNT(source.encode(), inside.encode(), None, MS_BIND | MS_REC, None) != 0:
                raise OSError(ctypes.get_errno(), f"bind {source}")
    return target


def variant(question, base):
    """The function that makes one sample of what was asked for."""
    name, python = question["variant"], os.path.realpath(sys.executable)
    if name == "fork":
        return forking(os.fork)
    if name in CLONE_FLAGS:
        return forking(lambda: clone(CLONE_FLAGS[name]))
    if name == "spawn":
        return spawning(["/bin/true"])
    if name == "python":
        return spawning([python, "-c", "pass"])
    if name == "python-isolated":
        return spawning([python, "-I", "-S", "-c", "pass"])
    if name == "chroot-python":
        chroot = next(p for p in ("/usr/sbin/chroot", "/usr/bin/chroot") if os.path.exists(p))
        return spawning([chroot, base, python, "-I", "-S", "-c", "pass"])
    if name == "import":
        return importing(question["modules"], question.get("path", []))
    raise ValueError(f"no such variant: {name}")


def main():
    """Answers batches until stdin ends."""
    base = make_base(sys.argv[1])
    for line in sys.stdin:
        question = json.loads(line)
        try:
            once = variant(question, base)
            for _ in range(question.get("warmup", 0)):
                once()
            samples = []
            for _ in range(question["count"]):
                begin = time.perf_counter_ns()
                once()
                samples.append((time.perf_counter_ns() - begin) / 1000)
            answer = {"samples": samples}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

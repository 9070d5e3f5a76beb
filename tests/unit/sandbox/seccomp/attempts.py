"""Installs the filter named by argv[1] (or none, for "-") and makes the calls listed on stdin.

One line in, one line out: a number and its arguments as JSON; the errno, or 0. Run as root, so that
only the filter can be what refuses.
"""

import ctypes
import json
import os
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(path):
    with open(path, "rb") as file:
        code = file.read()
    held = ctypes.create_string_buffer(code, len(code))
    program = Program(len(code) // 8, ctypes.addressof(held))
    prctl = libc.prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    assert prctl(38, 1, 0, 0, 0) == 0, "no_new_privs"
    assert prctl(22, 2, ctypes.addressof(program), 0, 0) == 0, "seccomp"


def main():
    attempts = json.load(sys.stdin)
    if sys.argv[1] != "-":
        install(sys.argv[1])
    for number, arguments in attempts:
        # A child each, because some of the calls would change the caller if they were let through.
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            ctypes.set_errno(0)
            result = libc.syscall(
                ctypes.c_long(number), *[ctypes.c_ulong(a & (2**64 - 1)) for a in arguments]
            )
            os.write(write, b"%d" % (ctypes.get_errno() if result == -1 else 0))
            os._exit(0)
        os.close(write)
        print(os.read(read, 20).decode() or "died")
        os.close(read)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        # Whatever a lambda does in everyday life: a program of its own under the filter.
        install(sys.argv[1])
        os.execv(sys.executable, [sys.executable, "-I", *sys.argv[2:]])
    main()

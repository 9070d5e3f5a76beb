"""System calls that Python 3.8 does not offer, through ctypes.

Used by the zygotes and by a sandbox while it sets itself up; a handler never needs it. PyDLL keeps
the interpreter's lock, so nothing else runs between a call and its errno.
"""

import ctypes
import os
import platform

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2

_NR_CAPSET = ctypes.c_long(91 if platform.machine() == "aarch64" else 126)
CAP_SYS_ADMIN = 21
_SYS_MOVE_MOUNT = 429
_NR_OPEN_TREE = ctypes.c_long(428)
_NR_IO_URING_SETUP = ctypes.c_long(425)
_NR_IO_URING_REGISTER = ctypes.c_long(427)
_IORING_SETUP_R_DISABLED = 1 << 6
_REGISTER_BUFFERS = ctypes.c_uint(0)
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_FDCWD = -100
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_set_name = _libc["prctl"]  # another object than _prctl: it takes a text
_set_name.argtypes = [ctypes.c_int, ctypes.c_char_p] + [ctypes.c_ulong] * 3
_mount = _libc.mount
_mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]


def _check(result, call):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, "%s: %s" % (call, os.strerror(code)))
    return result


def unshare(flags):
    """Leaves the namespaces named by CLONE_NEW* flags for new ones."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd, kind):
    """Enters the namespace behind a descriptor."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(source, target, kind, flags, options=None):
    """mount(2); every argument but flags is bytes or None."""
    _check(_mount(source, target, kind, flags, options), "mount " + target.decode())


def move_mount(fd, target):
    """Attaches a detached mount that came as a descriptor."""
    _check(
        _syscall(
            ctypes.c_long(_SYS_MOVE_MOUNT),
            ctypes.c_int(fd),
            ctypes.c_char_p(b""),
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(target),
            ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
        ),
        "move_mount " + target.decode(),
    )


def open_tree(path):
    """A detached copy of the mount at a path, as a descriptor."""
    flags = ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC)
    place = ctypes.c_char_p(path)
    result = _syscall(_NR_OPEN_TREE, ctypes.c_int(_AT_FDCWD), place, flags)
    return _check(result, "open_tree " + path.decode())


def make_disabled_ring():
    """An io_uring through which nothing can be submitted, as a descriptor."""
    params = (ctypes.c_uint32 * 30)()
    params[2] = _IORING_SETUP_R_DISABLED
    ring = _check(_syscall(_NR_IO_URING_SETUP, ctypes.c_uint(1), params), "io_uring_setup")
    os.set_inheritable(ring, False)
    return ring


def register_buffers(ring, buffers):
    """Pins memory of this process: an array of iovec."""
    count = ctypes.c_uint(len(buffers))
    result = _syscall(_NR_IO_URING_REGISTER, ctypes.c_int(ring), _REGISTER_BUFFERS, buffers, count)
    _check(result, "io_uring_register")


def prctl(option, a=0, b=0):
    """prctl(2) with plain numbers."""
    return _check(_prctl(option, a, b, 0, 0), "prctl")


def set_name(name):
    """What ps shows in its short column; at most 15 bytes."""
    _set_name(PR_SET_NAME, name, 0, 0, 0)


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


_CapSets = ctypes.c_uint32 * 6  # effective, permitted, inheritable; then their upper halves
_cap_header = _CapHeader(_CAPABILITY_VERSION_3, 0)
_cap_none = _CapSets()
_cap_mount = _CapSets(1 << CAP_SYS_ADMIN, 1 << CAP_SYS_ADMIN)


def _capset(sets):
    _check(_syscall(_NR_CAPSET, ctypes.byref(_cap_header), ctypes.byref(sets)), "capset")


def _last_capability():
    try:
        with open("/proc/sys/kernel/cap_last_cap") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 40


_last = None


def remember_last_capability():
    """Reads the kernel's highest capability once, before children are forked."""
    global _last
    _last = _last_capability()


def keep_mount_capability():
    """Empties the bounding and ambient sets for good and keeps CAP_SYS_ADMIN alone."""
    for capability in range((_last if _last is not None else _last_capability()) + 1):
        _prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _capset(_cap_mount)


def drop_capabilities():
    """Empties the remaining capability sets of this thread, for good."""
    _capset(_cap_none)


class _SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


class Filter:
    """A seccomp program, ready to be installed: an array of 8-byte instructions."""

    def __init__(self, program):
        self._program = program
        self._fprog = _SockFprog(len(program) // 8, program)

    def install(self):
        """Binds this process to the program; needs no_new_privs."""
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(self._fprog))

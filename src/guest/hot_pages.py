"""Pages that every child of a zygote writes to, copied by the fork instead of by page faults.

A forked Python writes to some 400 pages before it has answered its first call, if only reference
counts, and its zygote to half of them again after each fork. Each costs a fault and a copy, which is
a third of all processor time of a cold start. The kernel copies a page in the fork itself where the
parent's is pinned, as a device might write to it (copy_present_page in mm/memory.c), at a fifth of
that price and without a fault in either process. Registering buffers with io_uring is the pin that
needs no privilege; the ring is never enabled, so that nothing could be submitted through it.

Without io_uring everything works as well, slower.
"""

import ctypes
import errno
import os
import resource
import struct

import kernel
import sandbox

_PAGE = resource.getpagesize()
_RUNS_MAX = 1024  # buffers that kernels before 5.12 take
_BYTES_MAX = 5 << 19  # 2.5 MiB: with its page tables, within what a child may cost its zygote
_PRESENT = 1 << 63
_OF_FILE = 1 << 61
_EXCLUSIVE = 1 << 56


class _Buffer(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Runs:
    """Runs of pages, as (start, size in bytes), in ascending order."""

    def __init__(self):
        self.anonymous = []
        self.of_files = []  # private copies in mappings of files: data of programs and libraries


def written_by(pid):
    """What a child holds alone: pages that it has written, or its parent has since the fork.

    Either way a fork that copies them saves a fault.
    """
    runs = Runs()
    fd = os.open("/proc/%d/pagemap" % pid, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, end, is_file in _private(pid):
            found = runs.of_files if is_file else runs.anonymous
            entries = os.pread(fd, (end - start) // _PAGE * 8, start // _PAGE * 8)
            for index, (entry,) in enumerate(struct.iter_unpack("=Q", entries)):
                if entry & _PRESENT and entry & _EXCLUSIVE and not entry & _OF_FILE:
                    _append(found, start + index * _PAGE, _PAGE)
    finally:
        os.close(fd)
    return runs


def _private(pid):
    """Private writable mappings of a process: (start, end, whether of a file)."""
    with open("/proc/%s/maps" % pid, "rb") as file:
        lines = file.read().splitlines()
    for line in lines:
        place, mode, _, _, inode = line.split(None, 5)[:5]
        if mode[:2] == b"rw" and mode[3:] == b"p":
            start, end = (int(number, 16) for number in place.split(b"-"))
            yield start, end, inode != b"0"


def _append(runs, start, size):
    if runs and sum(runs[-1]) == start:
        runs[-1] = (runs[-1][0], runs[-1][1] + size)
    else:
        runs.append((start, size))


def _here(runs):
    """The parts of runs that this process has as well: a child may have taken memory of its own."""
    places = [(start, end) for start, end, _ in _private("self")]
    found = []
    for start, size in runs:
        for low, high in places:
            low, high = max(low, start), min(high, start + size)
            if low < high:
                _append(found, low, high - low)
    return found


def _bounded(runs):
    """As many of them as a kernel takes, and as a child may cost."""
    found = []
    left = _BYTES_MAX
    for start, size in runs[:_RUNS_MAX]:
        if left > 0:
            found.append((start, min(size, left)))
            left -= size
    return found


def pin(runs):
    """Has them copied by every fork from now on: (bytes, whether these are all of them)."""
    wanted = _here(runs.anonymous + runs.of_files)
    taken = _bounded(wanted)
    try:
        return _pin(taken), taken == wanted
    except OSError as error:
        # Older kernels, such as Linux 6.1, take no part of a mapping of a file.
        if error.errno != errno.EOPNOTSUPP:
            raise
        return _pin(_bounded(_here(runs.anonymous))), False


def _pin(runs):
    if not runs:
        return 0
    ring = kernel.make_disabled_ring()
    try:
        kernel.register_buffers(ring, (_Buffer * len(runs))(*runs))
    except OSError:
        os.close(ring)
        raise
    # The ring stays open as long as the process lives, and the pages pinned.
    return sum(size for _, size in runs)


def allow_locking():
    """As much as the host lets this process."""
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))


def give_up_locking():
    """What a sandbox may lock, for a process that is about to run code of others."""
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    most = sandbox.LOCKED_MAX if hard == resource.RLIM_INFINITY else min(hard, sandbox.LOCKED_MAX)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))

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

_PAGE = resource.getpagesize()
_RUNS_MAX = 1024  # buffers that kernels before 5.12 take
_BYTES_MAX = 6 * 1024 * 1024  # below the usual limit of locked memory, which is 8 MB
_LOCKED_MAX = 64 * 1024
_PRESENT = 1 << 63
_OF_FILE = 1 << 61
_EXCLUSIVE = 1 << 56


class _Buffer(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Runs:
    """Runs of pages, as (start, size in bytes)."""

    def __init__(self):
        self.anonymous = []
        self.of_files = []  # private copies in mappings of files: data of programs and libraries


def written_by(pid):
    """What a child has written of the memory that it was forked with."""
    runs = Runs()
    with open("/proc/%d/maps" % pid) as file:
        lines = file.read().splitlines()
    fd = os.open("/proc/%d/pagemap" % pid, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for line in lines:
            place, mode, _, _, inode = line.split(None, 5)[:5]
            if mode[:2] != "rw" or mode[3] != "p":
                continue
            found = runs.anonymous if inode == "0" else runs.of_files
            start, end = (int(number, 16) for number in place.split("-"))
            entries = os.pread(fd, (end - start) // _PAGE * 8, start // _PAGE * 8)
            for index, (entry,) in enumerate(struct.iter_unpack("=Q", entries)):
                if entry & _PRESENT and entry & _EXCLUSIVE and not entry & _OF_FILE:
                    _append(found, start + index * _PAGE)
    finally:
        os.close(fd)
    return runs


def _append(runs, page):
    if runs and sum(runs[-1]) == page:
        runs[-1] = (runs[-1][0], runs[-1][1] + _PAGE)
    else:
        runs.append((page, _PAGE))


def pin(runs):
    """Has them copied by every fork from now on. Returns how many bytes that are."""
    try:
        return _pin(runs.anonymous + runs.of_files)
    except OSError as error:
        # Older kernels, such as Linux 6.1, take no part of a mapping of a file.
        if error.errno != errno.EOPNOTSUPP:
            raise
        return _pin(runs.anonymous)


def _pin(runs):
    size = sum(run[1] for run in runs)
    if not runs or len(runs) > _RUNS_MAX or size > _BYTES_MAX:
        return 0
    ring = kernel.make_disabled_ring()
    try:
        kernel.register_buffers(ring, (_Buffer * len(runs))(*runs))
    except OSError:
        os.close(ring)
        raise
    return size  # the ring stays open as long as the process lives, and the pages pinned


def give_up_locking():
    """What a sandbox may lock, for a process that is about to run code of others."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (_LOCKED_MAX, _LOCKED_MAX))

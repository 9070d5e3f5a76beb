"""Fills the holes in the memory of a zygote, so that what comes next lies close together.

Children write to the pages of the objects that they use, if only to reference counts, and those pages
are copied for each of them. Imports leave thousands of holes, so what the guest allocates would lie
scattered among objects that no child ever uses. Filled, its own modules share pages, and a child's first
objects do: a sixth fewer pages to copy for children of the root zygote, a third fewer for those of
zygotes that imported something.
"""

import ctypes
import sys

# Of pymalloc (Objects/obmalloc.c): objects of one size share a pool, and the header of a pool comes first.
_POOL = 16384 if sys.version_info >= (3, 10) else 4096
_POOL_HEADER = 48
_SIZES = range(16, 513, 16)
_BYTES_HEADER = 33
_CLASS_MAX = 1 << 20  # bytes of one size, should this Python lay out its memory in another way
_LARGE = 560  # a size that goes to the C library's allocator
_LARGE_HEADER_MAX = 32
_LARGE_RUN = 64
# Of glibc's malloc: freed blocks of up to 1,032 bytes wait for one of their size in lists of their own, larger
# ones are cut up.
_HEAP_SIZES = (8192, 4096, 2048) + tuple(range(1032, 16, -16))
_HEAP_RUN_BYTES = 2048
_HEAP_TRIES_MAX = 1 << 12
_kept = []

_libc = ctypes.PyDLL(None)
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.malloc.restype = ctypes.c_void_p
_libc.free.argtypes = [ctypes.c_void_p]


def fill_holes():
    """Takes what is free between objects, for good, but for places where a whole pool is."""
    for size in _HEAP_SIZES:
        if not _keep_in_heap(size):
            break  # a C library with another allocator
    for size in _SIZES:
        # Not each of the places in a pool: numbers that say where an object lies are objects as well.
        few = 4 * size
        most = (_POOL - _POOL_HEADER) // size // 3
        if not _keep(size, few, most, lambda at: at % _POOL < _POOL_HEADER + few):
            break  # a Python with another allocator
    _keep(_LARGE, _LARGE + _LARGE_HEADER_MAX, _LARGE_RUN, lambda _: True)


def _keep(size, step_max, run_wanted, may_begin):
    """Allocates until objects lie side by side that many times, and keeps those before.

    Returns False, and keeps nothing, where they never do.
    """
    kept = []
    run = 0
    last = 0
    while run < run_wanted and len(kept) * size < _CLASS_MAX:
        made = _object_of(size)
        place = id(made)
        if run and last < place <= last + step_max:
            run += 1
        else:
            run = 1 if may_begin(place) else 0
        last = place
        kept.append(made)
    if run < run_wanted:
        return False
    _kept.append(tuple(kept[: len(kept) - run]))
    return True


def _keep_in_heap(size):
    """The same for blocks that Python's own allocator has no part in.

    Those side by side are kept as well: given back they would wait in the list of their size, and a
    child would take blocks of each size from another page.
    """
    wanted = max(3, _HEAP_RUN_BYTES // size)
    blocks = []
    run = 0
    last = 0
    tries_max = min(_HEAP_TRIES_MAX, _CLASS_MAX // size)
    while run < wanted and len(blocks) < tries_max:
        block = _libc.malloc(size) or 0
        run = run + 1 if last < block <= last + size + _LARGE_HEADER_MAX else 0
        last = block
        blocks.append(block)
    if run == wanted:
        return True
    for block in blocks:
        _libc.free(block)
    return False


def _object_of(size):
    if size == 16:
        return object()
    if size == 32:
        return float("1.5")
    return bytes(size - _BYTES_HEADER)

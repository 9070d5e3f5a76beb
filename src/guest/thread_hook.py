"""What Python's threading module does after each fork, left out where there is nothing to do.

It marks the threads that a fork did not copy as ended and renews locks that they may have held. In
a zygote with one thread that changes nothing but the number that the kernel gave the thread, and
it costs as much as the rest of Python's share of a fork: it writes to a hundred pages.
"""

import threading

_hook = getattr(threading, "_after_fork", None)
_code = getattr(_hook, "__code__", None)


def _nothing():
    pass


def leave_out():
    """In a zygote: its children do without, until `put_back`. Other threads make that impossible."""
    if _code is None:
        return
    _hook.__code__ = _nothing.__code__ if threading.active_count() == 1 else _code


def put_back():
    """In a child: forks of its own are as everywhere, and its thread has its own number."""
    if _code is None or _hook.__code__ is _code:
        return
    _hook.__code__ = _code
    renumber = getattr(threading.main_thread(), "_set_native_id", None)
    if renumber is not None:
        renumber()

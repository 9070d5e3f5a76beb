"""What Python's threading module does after each fork, left out where there is nothing to do.

It marks the threads that a fork did not copy as ended and renews locks that they may have held. After
a fork of a zygote with one thread that changes nothing, not even the thread's number, because zygote
and child are both the first process of their pid namespaces; and it costs as much as the rest of
Python's share of a fork: it writes to a hundred pages. Forks of the child's own are as everywhere.
"""

import os
import threading

_hook = getattr(threading, "_after_fork", None)
_code = getattr(_hook, "__code__", None)
_is_child = False


def _nothing():
    pass


def _before_fork():
    if _is_child:
        _hook.__code__ = _code


def leave_out():
    """In a zygote: its children do without. Other threads make that impossible."""
    if _code is None:
        return
    _hook.__code__ = _nothing.__code__ if threading.active_count() == 1 else _code


def put_back():
    """In a child: the next fork is its own. Costs one write; most children never fork."""
    global _is_child
    _is_child = True


def become_zygote():
    """In a child that forks on as a zygote."""
    global _is_child
    _is_child = False


if _code is not None:
    os.register_at_fork(before=_before_fork)

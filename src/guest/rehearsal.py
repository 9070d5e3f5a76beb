"""A sandbox that answers one call before there is any, so that its zygote learns what that takes."""

import array
import os
import signal
import socket
import struct

import handler
import hot_pages
import kernel
import wire

_PATIENCE_S = 5
_IDENT = "rehearsal"
_UID = 1
_LIMITS = {"fileMaxBytes": 1 << 20, "processesMax": 8, "scratchMaxBytes": 1 << 20}


def hot_runs(zygote):
    """Runs of pages that a child of this zygote writes to, up to the answer to its first call."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _PATIENCE_S, 0))
    pid = 0
    try:
        request = dict(_LIMITS, id=_IDENT, uid=_UID)
        pid = zygote.fork_spare(request, [theirs.fileno()])
        theirs.close()
        _call(ours)
        return hot_pages.written_by(pid)
    finally:
        theirs.close()
        ours.close()
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            zygote.forget(pid)


def _call(sock):
    """The worker's part."""
    reader = wire.Reader(sock.fileno())
    _expect(reader, wire.ENCLOSED)
    fds = [kernel.open_tree(b"/handler")]
    try:
        fds.extend(os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC) for _ in range(2))
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sock.sendmsg([handler.rehearsed_frames(_LIMITS)], passed)
    finally:
        for fd in fds:
            os.close(fd)
    _expect(reader, wire.READY)
    _expect(reader, wire.RESULT)


def _expect(reader, kind):
    try:
        message = reader.read()
    except BlockingIOError:
        raise OSError("the rehearsal took longer than %d s" % _PATIENCE_S)
    if message is None:
        raise OSError("the rehearsal ended early")
    if message[0] != kind:
        raise OSError("the rehearsal said %d: %s" % (message[0], message[2][:1000]))

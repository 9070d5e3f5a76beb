"""Frames between the worker and a guest: u32 payload length, u8 type, u32 call id, payload.

All numbers are little-endian. The other side of this file is src/guest/wire.ts.
"""

import os
import struct

ASSIGN = 1
CALL = 2

READY = 16
RESULT = 17
EXCEPTION = 18
RESULT_INVALID = 19
LOAD_FAILED = 20
BAD_EVENT = 21
SETUP_FAILED = 22
ENCLOSED = 23

HEADER = struct.Struct("<IBI")
PAYLOAD_MAX = 64 * 1024 * 1024


def frame(kind, call, payload):
    return HEADER.pack(len(payload), kind, call) + payload


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Reader:
    """Cuts a byte stream into frames."""

    def __init__(self, fd, first=b""):
        self._fd = fd
        self._buffer = first

    def pending(self):
        """Whether a whole frame is here already."""
        if len(self._buffer) < HEADER.size:
            return False
        return len(self._buffer) >= HEADER.size + HEADER.unpack_from(self._buffer)[0]

    def poll(self, sock):
        """Takes what has arrived, without waiting."""
        try:
            self._buffer += sock.recv(65536, 0x40)  # MSG_DONTWAIT
        except (BlockingIOError, InterruptedError):
            pass

    def read(self):
        """Waits for one frame; None at the end of the stream."""
        while len(self._buffer) < HEADER.size:
            data = os.read(self._fd, 65536)
            if not data:
                return None
            self._buffer += data
        length, kind, call = HEADER.unpack_from(self._buffer)
        end = HEADER.size + length
        if len(self._buffer) < end:
            parts, have = [self._buffer], len(self._buffer)
            while have < end:
                data = os.read(self._fd, min(end - have, 1 << 20) if have > 65536 else 65536)
                if not data:
                    return None
                parts.append(data)
                have += len(data)
            self._buffer = b"".join(parts)
        payload = self._buffer[HEADER.size : end]
        self._buffer = self._buffer[end:]
        return kind, call, payload

"""Serves as a zygote without privileges would, and is sent requests that no worker should send.

hostile-requests.py GUEST_DIR: prints what the zygote said, as JSON, and whether it lives on.
"""

import array
import json
import os
import socket
import sys

sys.path.insert(0, sys.argv[1])
import zygote  # noqa: E402

own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
pid = os.fork()
if pid == 0:
    own.close()
    try:
        zygote.Zygote(theirs, {}, []).serve()
    finally:
        os._exit(9)
theirs.close()


def send(data):
    """With a descriptor of its own; what is returned ends when nobody holds that one any more."""
    held_in, held_out = os.pipe()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [held_out]))]
    own.sendmsg([data], rights)
    os.close(held_out)
    return held_in


own.settimeout(10)
held = [
    send(b'{"op": "spare", "id": "' + b"x" * zygote.REQUEST_MAX + b'"}'),
    send(b'{"op": "spare"'),
    send(b"\xff\xfe"),
    send(b"[]"),
    send(b"7"),
    send(b'{"op": "spare"}'),
    send(b'{"id": "no-op"}'),
    send(b'{"op": ["spare"], "id": "odd-op"}'),
    send(b'{"op": "nothing", "id": "unknown-op"}'),
    send(b'{"op": "spare", "id": "no-fields"}'),
    send(b'{"op": "zygote", "id": "few-descriptors"}'),
    send(b'{"op": "nothing", "id": "last"}'),
]
said = []
while not {"last", "few-descriptors"} <= {message["id"] for message in said}:
    data = own.recv(1 << 16)
    if not data:
        break
    said.append(json.loads(data))
closed = [os.read(fd, 1) == b"" for fd in held]
own.close()
status = os.waitpid(pid, 0)[1]
print(json.dumps({"said": said, "closed": closed, "status": status}))

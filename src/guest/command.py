"""Runs one program in a sandbox of its own: the installer. It has the network of the host."""

import json
import os
import signal

import kernel
import sandbox

PROGRAM_FILE = "/run/install/program.json"


def body(request, fds, filters):
    """In the forked child. fds: socket, stdout, stderr, mounts in the order of `targets`, cgroups."""
    targets = request["targets"]
    uid = request["uid"]
    first_cgroup = 3 + len(targets)
    kernel.set_name(b"ol-installer")
    os.dup2(fds[1], 1)
    os.dup2(fds[2], 2)
    sandbox.enclose(fds[first_cgroup:], uid, request, -1)
    os.makedirs("/tmp/.run/install", 0o755)
    kernel.mount(b"/tmp/.run", b"/run", None, kernel.MS_BIND)
    filters["early"].install()
    for target, fd in zip(targets, fds[3:first_cgroup]):
        kernel.move_mount(fd, target.encode())
    os.closerange(fds[0] + 1, fds[0] + len(fds))  # the socket is the first of them
    sandbox.close_off(filters["late"])
    with open(PROGRAM_FILE) as file:
        program = json.load(file)
    os.chdir("/tmp")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    pid = os.fork()  # pid 1 of the namespace stays ours: it reaps, and the program gets signals
    if pid == 0:
        os.closerange(3, 4096)
        try:
            os.execve(program["argv"][0], program["argv"], program["env"])
        finally:
            os._exit(127)
    while True:
        ended, status = os.wait()
        if ended == pid:
            break
    if os.WIFSIGNALED(status):
        report = b"signal %d" % os.WTERMSIG(status)
    else:
        report = b"exit %d" % os.WEXITSTATUS(status)
    os.write(fds[0], report)
    os._exit(0)

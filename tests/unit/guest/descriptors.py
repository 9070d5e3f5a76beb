"""Exercises keep_only and take_network of the zygote; prints what is left, as JSON. One case per run."""

import fcntl
import json
import os
import resource
import sys

sys.path.insert(0, sys.argv[1])
import zygote  # noqa: after the path is known


def open_fds():
    return sorted(int(fd) for fd in os.listdir("/proc/self/fd") if _is_open(int(fd)))


def _is_open(fd):
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False


def keep(numbers):
    """Opens a file for each number, named by it, moves them, and says which file each became."""
    for number in numbers:
        fd = os.memfd_create(str(number))
        os.dup2(fd, number)
        if fd != number:
            os.close(fd)
    final = zygote.keep_only(numbers)
    names = [os.readlink("/proc/self/fd/%d" % fd) for fd in final]
    inherited = [fd for fd in final if not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC]
    return {
        "final": final,
        "names": [name.split("memfd:")[1].split(" ")[0] for name in names],
        "open": [fd for fd in open_fds() if fd > 2],
        "inherited": inherited,
    }


def crowded(_):
    """Descriptors well past 1,000 are open, and the wanted ones lie among them."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    for _ in range(1500):
        os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    return keep([1001, 1000, 1499, 4, 3])


def full(_):
    """No descriptor is free: it fails, and what was open is open and the same as before."""
    control = os.memfd_create("control")
    while os.open("/dev/null", os.O_RDONLY) < 20:
        pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (21, 4096))
    before = [os.readlink("/proc/self/fd/%d" % fd) for fd in (3, control)]
    try:
        zygote.keep_only([control])
        return "kept"
    except OSError as error:
        after = [os.readlink("/proc/self/fd/%d" % fd) for fd in (3, control)]
        return [error.errno, before == after]


def network(what):
    """take_network where the host refuses a fork, or a pipe: nothing stays open."""
    control, _ = zygote.socket.socketpair()
    engine = zygote.Zygote(control, {}, [])
    before = open_fds()

    def refuse(*_):
        raise OSError(11, "refused")

    pipes = [os.pipe2]
    if what == "fork":
        os.fork = refuse
    else:
        os.pipe2 = lambda flags: (pipes.pop() if pipes else refuse)(flags)
    try:
        engine.take_network()
        return "taken"
    except OSError:
        return open_fds() == before


cases = {"keep": keep, "crowded": crowded, "full": full, "network": network}
print(json.dumps(cases[sys.argv[2]](json.loads(sys.argv[3]))))

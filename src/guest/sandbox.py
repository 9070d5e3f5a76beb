"""What a freshly forked child does to become a sandbox: namespaces, mounts, and no privileges.

Order matters and is checked from outside by the posture test. Steps that every sandbox shares come
first (`enclose`), so that a child can wait in stock; `close_off` is the rest, for one lambda.
"""

import os
import resource
import socket

import kernel

NAMESPACES = (
    kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
)
LAMBDA_ID = 1000  # what the lambda sees as its uid and gid; outside it is one of a kind
PLAIN = kernel.MS_NOSUID | kernel.MS_NODEV
FILES_MAX = 1024
LOCKED_MAX = 64 * 1024
INODES_PER_MIB = 256


def join_cgroups(fds):
    for fd in fds:
        os.write(fd, b"0")
        os.close(fd)


def mount_scratch(uid, scratch_bytes):
    """One tmpfs of bounded size and file count behind /tmp, /host and /dev/shm."""
    inodes = max(1024, scratch_bytes // (1 << 20) * INODES_PER_MIB)
    options = "size=%d,nr_inodes=%d,mode=755" % (scratch_bytes, inodes)
    kernel.mount(b"scratch", b"/tmp", b"tmpfs", PLAIN, options.encode())
    for name, target in (("host", b"/host"), ("shm", b"/dev/shm"), ("tmp", b"/tmp")):
        source = "/tmp/" + name
        os.mkdir(source, 0o700)
        if name == "host":
            os.symlink("/proc/self/fd/1", source + "/stdout")
            os.symlink("/proc/self/fd/2", source + "/stderr")
        os.chown(source, uid, uid)
        kernel.mount(source.encode(), target, None, kernel.MS_BIND)


def _write(path, text):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def forbid_core_dumps():
    """For this process and all below it, once: later the filter refuses any change.

    A limit of 0 does not keep the kernel from handing a dump to a program of the host, which most
    distributions ask for in core_pattern; 1 does, and is too little for a file (fs/coredump.c).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def set_limits(file_bytes, processes):
    """Bounds of the process itself, beside those of its cgroup. They can only be lowered later."""
    for kind, value in (
        (resource.RLIMIT_NOFILE, FILES_MAX),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_MEMLOCK, LOCKED_MAX),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 1024),
        (resource.RLIMIT_NPROC, processes + 8),
        (resource.RLIMIT_NICE, 0),
        (resource.RLIMIT_RTPRIO, 0),
    ):
        resource.setrlimit(kind, (value, value))


def _become(uid):
    """Takes an unprivileged identity in a user namespace of its own.

    The second copy of the mount namespace belongs to that user namespace: everything mounted so
    far is locked in it, so that not even its capabilities could unmount or loosen anything. The
    other namespaces stay the property of the zygote's user namespace, out of reach.
    """
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/gid_map", "%d %d 1" % (LAMBDA_ID, uid))
    _write("/proc/self/uid_map", "%d %d 1" % (LAMBDA_ID, uid))


def enclose(cgroup_fds, uid, request, network):
    """All steps that do not depend on the lambda; what is left is the right to attach its code.

    network is a descriptor of the network namespace to enter, -1 to stay in the zygote's.
    """
    join_cgroups(cgroup_fds)
    kernel.unshare(NAMESPACES)
    if network >= 0:
        kernel.setns(network, kernel.CLONE_NEWNET)
        os.close(network)
    socket.sethostname("lambda")
    kernel.mount(b"proc", b"/proc", b"proc", PLAIN | kernel.MS_NOEXEC)
    mount_scratch(uid, request["scratchMaxBytes"])
    set_limits(request["fileMaxBytes"], request["processesMax"])
    _become(uid)
    kernel.keep_mount_capability()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    os.umask(0o022)
    os.chdir("/host")


def close_off(late_filter):
    """The last steps, with the code attached: after them the process has no way back."""
    kernel.drop_capabilities()
    late_filter.install()

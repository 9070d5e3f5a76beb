"""How a zygote enters namespaces of its own, and gives up what it does not need there."""

import errno
import os
import signal

import kernel
import sandbox


def become_root():
    """Takes the first id of the user namespace and the parent's death as its own."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


def mount_first_proc():
    """A full /proc must be visible before a user namespace may mount its own.

    It belongs to a pid namespace that ends at once, so it never shows a process of the host.
    """
    pid = os.fork()
    if pid == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWPID)
            if os.fork() == 0:
                kernel.mount(b"proc", b"/proc", b"proc", sandbox.PLAIN | kernel.MS_NOEXEC)
                os._exit(0)
            os._exit(os.WEXITSTATUS(os.wait()[1]))
        finally:
            os._exit(1)
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError(errno.EPERM, "cannot mount /proc")


def enter_own_namespaces(control, scratch_bytes, is_waited_for):
    """Forks into a pid namespace that the user namespace owns; only the child returns.

    With that ownership the child can mount its /proc and come back after each fork of its own. Where
    somebody waits for the parent, it stays outside, holds nothing, and ends with the child. Else it
    ends at once, and with it the memory that it has for itself: the child dies with the pid namespace
    that it was made in.
    """
    become_root()
    kernel.unshare(kernel.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        if is_waited_for:
            _wait_as_parent(control, pid)
        os._exit(0)
    if is_waited_for:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.mount(b"proc", b"/proc", b"proc", sandbox.PLAIN | kernel.MS_NOEXEC)
    sandbox.mount_scratch(0, scratch_bytes)


def own_pid_namespace():
    return os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)


def write_id_maps(pid, own, taken, ids):
    """Root of the child's user namespace is an id of its own; the ids of handlers keep their numbers.

    Ids that an ancestor took as its root are not mapped here, so they are left out.
    """
    extents = [(0, own, 1)]
    start = 1
    for hole in sorted(set(taken + [own])) + [ids]:
        if hole > start:
            extents.append((start, start, hole - start))
        start = hole + 1
    text = "\n".join("%d %d %d" % extent for extent in extents)
    for name in ("gid_map", "uid_map"):
        with open("/proc/%d/%s" % (pid, name), "w") as file:
            file.write(text)


def _wait_as_parent(control, pid):
    """The process outside of the pid namespace: holds nothing, ends when the zygote ends."""
    control.close()
    os.closerange(3, 256)
    kernel.set_name(b"ol-zygote-wait")
    while True:
        try:
            status = os.waitpid(pid, 0)[1]
            break
        except InterruptedError:
            continue
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))

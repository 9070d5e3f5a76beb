"""The fork server: a Python that stands inside the base and forks sandboxes and further zygotes.

Requests come as JSON datagrams with descriptors over a SOCK_SEQPACKET socket from the worker; the
other side is src/sandbox/sock/zygote-link.ts. One thread, no third-party code in the root zygote.
"""

import _signal
import array
import errno
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time

import command
import entry
import handler
import hot_pages
import import_ahead
import kernel
import packing
import rehearsal
import sandbox
import thread_hook
import wire

REQUEST_MAX = 128 * 1024  # the same as ZYGOTE_REQUEST_MAX_BYTES of the worker
FDS_MAX = 12
OPEN_MAX = 1 << 16  # a zygote holds one network per sandbox, of which there are fewer than this
_PROCESS_NAME = b"ol-zygote"
_EXIT = b'{"event": "exit", "id": "%s", "signal": %d, "code": %d}'


def receive(sock, size=REQUEST_MAX):
    """One message with its descriptors. (b"", []) at the end; ValueError where it was cut off."""
    fds = array.array("i")
    data, ancillary, flags, _ = sock.recvmsg(
        size, socket.CMSG_SPACE(FDS_MAX * fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(fds)  # some of them may be missing: what is asked for then fails and is reported
        fds = []
    if flags & socket.MSG_TRUNC:
        raise ValueError("a message is longer than %d bytes" % size)
    return data, list(fds)


def close_all(fds):
    for fd in fds:
        os.close(fd)


def keep_only(keep):
    """Moves descriptors to 3, 4, … in order, closes all others above 2, returns the new numbers.

    Where it fails, all are as they were: the copies have numbers that the kernel says are free.
    """
    free = 3 + len(keep)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, free) for fd in keep]
    final = [os.dup2(fd, 3 + index, inheritable=False) for index, fd in enumerate(high)]
    os.closerange(free, OPEN_MAX)
    return final


def _require_all(request, fds):
    """Descriptors for which there was no room are left out silently, such as those of a cgroup."""
    if len(fds) != request["descriptors"]:
        raise OSError(errno.EMFILE, "the zygote has no room for more descriptors")


def _raise_open_limit():
    """As many descriptors as the host allows, up to what `keep_only` closes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = OPEN_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _become_child():
    """First steps of a forked child: what concerns the zygote alone is none of its business.

    `_signal` is what `signal` wraps; the wrapper writes to fifty pages more.
    """
    _signal.set_wakeup_fd(-1)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    thread_hook.put_back()


def _hold_network(made_out, held_in, held_out):
    """In a child: makes a network namespace and ends once the parent has opened it."""
    try:
        kernel.set_name(b"ol-network")
        kernel.unshare(kernel.CLONE_NEWNET)
        os.write(made_out, b"1")
        os.close(held_out)
        os.read(held_in, 1)
    finally:
        os._exit(0)


class Zygote:
    """State of one fork server."""

    def __init__(self, control, filters, stdlib):
        self.control = control
        self.filters = filters
        self.stdlib = stdlib
        self.children = {}
        self.pids = {}
        self.taken_ids = []
        self.own_pid_namespace = entry.own_pid_namespace()
        self.free_networks = []
        self.networks = {}
        self.hot_runs = hot_pages.Runs()
        self.pinned = 0  # bytes
        self.copies_all = False  # whether a fork copies all that a call writes to

    def say(self, **message):
        self.send(json.dumps(message).encode())

    def send(self, data):
        while True:
            try:
                self.control.send(data)
                return
            except InterruptedError:
                continue

    def fork(self, ident):
        """Forks into a new pid namespace. Returns the child's pid, or 0 in the child."""
        kernel.unshare(kernel.CLONE_NEWPID)
        try:
            pid = os.fork()
        except BaseException:
            kernel.setns(self.own_pid_namespace, kernel.CLONE_NEWPID)
            raise
        if pid:
            self.children[pid] = ident
            self.pids[ident] = pid
            kernel.setns(self.own_pid_namespace, kernel.CLONE_NEWPID)
        return pid

    def take_network(self):
        """A descriptor of an empty network namespace, perhaps one that a sandbox has left.

        Making and removing one costs the kernel more than the rest of a sandbox; nothing of a
        sandbox outlives its processes in there, because none ever may configure it.
        """
        if self.free_networks:
            return self.free_networks.pop()
        fds = []
        pid = 0
        try:
            fds.extend(os.pipe2(os.O_CLOEXEC))
            fds.extend(os.pipe2(os.O_CLOEXEC))
            made_in, made_out, held_in, held_out = fds
            pid = os.fork()
            if pid == 0:
                _hold_network(made_out, held_in, held_out)
            fds.remove(made_out)
            os.close(made_out)
            if os.read(made_in, 1) != b"1":
                raise OSError(errno.EPERM, "cannot make a network namespace")
            return os.open("/proc/%d/ns/net" % pid, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            for fd in fds:
                os.close(fd)
            if pid:
                os.waitpid(pid, 0)

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            network = self.networks.pop(pid, -1)
            if network >= 0:
                # The first process of a pid namespace ends last: nothing is left in the network.
                self.free_networks.append(network)
            ident = self.children.pop(pid, None)
            if ident is None:
                continue
            self.pids.pop(ident, None)
            # Not through json: it is said once per sandbox, and ids are letters, digits and dashes.
            self.send(_EXIT % (ident.encode(), status & 0x7F, status >> 8 & 0xFF))

    def serve(self):
        """Until the worker closes the control socket: then everything below dies with pid 1."""
        wake_in, wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        poller = select.poll()
        poller.register(self.control.fileno(), select.POLLIN)
        poller.register(wake_in, select.POLLIN)
        while True:
            for fd, _ in poller.poll():
                if fd == wake_in:
                    os.read(wake_in, 4096)
                    self.reap()
                    continue
                try:
                    data, fds = receive(self.control)
                except ValueError:
                    continue  # nobody can be told: what it was about was cut off
                except ConnectionResetError:
                    os._exit(0)
                if not data:
                    os._exit(0)
                self.handle(data, fds)

    def handle(self, data, fds):
        """One request. Whatever is wrong with it fails that request alone: all sandboxes hang on us."""
        ident = None
        try:
            request = json.loads(data)
            ident = request["id"]
            wanted = {"spare": self.spare, "zygote": self.zygote, "command": self.command}
            wanted["kill"] = self.kill
            wanted[request["op"]](request, fds)
        except Exception as error:  # noqa: see above
            if isinstance(ident, str):
                self._refuse(ident, error)
        finally:
            close_all(fds)

    def kill(self, request, _fds):
        """Ends a child, and all others in its pid namespace; one that has ended is no error."""
        pid = self.pids.get(request["id"])
        if pid is not None:  # not reaped yet, so the number is still its own
            os.kill(pid, signal.SIGKILL)

    def forget(self, pid):
        """A child that was waited for elsewhere."""
        del self.pids[self.children.pop(pid)]

    def _refuse(self, ident, error):
        if isinstance(error, OSError):
            name = errno.errorcode.get(error.errno, str(error.errno))
            self.say(event="failed", id=ident, errno=name, message=str(error)[:1000])
        else:
            message = "%s: %s" % (type(error).__name__, error)
            self.say(event="failed", id=ident, message=message[:1000])

    def _closes(self, request, fds, body):
        """Runs body in a forked child, which never returns into this loop. Returns its pid.

        body gets the descriptors under new numbers; the first of them is told of a failure.
        """
        pid = self.fork(request["id"])
        if pid:
            return pid
        code = 1
        guest = -1  # never the number that it will have: until then that is the zygote's own socket
        try:
            guest = fds[0]
            _become_child()
            self.control.detach()  # its number is about to become the guest's socket
            kept = keep_only(fds)
            guest = kept[0]
            body(request, kept)
            code = 0
        except BaseException as error:  # noqa: a child must end here, whatever happened
            try:
                report = "%s: %s" % (type(error).__name__, error)
                wire.write_all(guest, wire.frame(wire.SETUP_FAILED, 0, report.encode()))
            except OSError:
                pass
        finally:
            os._exit(code)

    def spare(self, request, fds):
        """fds: the guest's socket, then one cgroup.procs per hierarchy."""
        _require_all(request, fds)
        if not request["privateNetwork"]:
            self.fork_spare(request, fds)
            return
        network = self.take_network()
        try:
            pid = self._closes(request, fds + [network], self._networked_body)
        except BaseException:
            self.free_networks.append(network)
            raise
        self.networks[pid] = network

    def fork_spare(self, request, fds):
        """A spare in the network of the zygote. Returns its pid."""
        return self._closes(request, fds, lambda r, f: self._spare_body(r, f, -1))

    def _networked_body(self, request, fds):
        self._spare_body(request, fds[:-1], fds[-1])

    def _spare_body(self, request, fds, network):
        kernel.set_name(b"ol-handler")
        sandbox.enclose(fds[1:], request["uid"], request, network)
        self.filters["early"].install()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=fds[0])
        handler.warm_up(self.copies_all)
        wire.write_all(fds[0], wire.frame(wire.ENCLOSED, 0, b""))
        data, passed = receive(sock)
        if not data:
            return
        reader = wire.Reader(fds[0], data)
        kind, _, payload = reader.read()
        if kind != wire.ASSIGN:
            raise ValueError("the first frame is not an assignment")
        code_mount, out, err = passed
        kernel.move_mount(code_mount, b"/handler")
        os.dup2(out, 1)
        os.dup2(err, 2)
        for fd in passed:
            os.close(fd)
        config, code = handler.split_assign(payload)
        config["stdlib"] = self.stdlib
        if config["processesMax"] != request["processesMax"]:
            sandbox.set_limits(config["fileMaxBytes"], config["processesMax"])
        sandbox.close_off(self.filters["late"])
        handler.serve(sock, reader, config, code)

    def zygote(self, request, fds):
        """fds: the child's control socket, a log, then one cgroup.procs per hierarchy."""
        _require_all(request, fds)
        ready_in, ready_out = os.pipe2(os.O_CLOEXEC)
        mapped_in, mapped_out = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
            if pid == 0:
                self._zygote_child(request, fds + [ready_out, mapped_in])
            self.children[pid] = request["id"]
            os.close(ready_out)
            ready_out = -1
            if os.read(ready_in, 1) == b"1":
                entry.write_id_maps(pid, request["uid"], self.taken_ids, request["ids"])
                os.write(mapped_out, b"1")
        finally:
            for fd in (ready_in, ready_out, mapped_in, mapped_out):
                if fd >= 0:
                    os.close(fd)

    def _zygote_child(self, request, fds):
        try:
            _become_child()
            self.control.detach()
            fds = keep_only(fds)
            mapped_in, ready_out = fds.pop(), fds.pop()
            self.control = socket.socket(fileno=fds[0])
            self.children = {}
            self.pids = {}
            thread_hook.become_zygote()
            self.networks = {}
            self.free_networks = []  # those descriptors stayed with the parent
            self.taken_ids = self.taken_ids + [request["uid"]]
            os.dup2(fds[1], 1)
            os.dup2(fds[1], 2)
            os.close(fds[1])
            sandbox.join_cgroups(fds[2:])
            network = kernel.CLONE_NEWNET if request["privateNetwork"] else 0
            kernel.unshare(kernel.CLONE_NEWUSER | sandbox.NAMESPACES | network)
            os.write(ready_out, b"1")
            if os.read(mapped_in, 1) != b"1":
                os._exit(1)
            os.close(ready_out)
            os.close(mapped_in)
            entry.enter_own_namespaces(self.control, request["scratchMaxBytes"], False)
            self.own_pid_namespace = entry.own_pid_namespace()
            self._import(request)
            self.serve()
        except BaseException as error:  # noqa: a child must end here, whatever happened
            try:
                message = handler.describe(error)[-4000:]
                self.say(event="failed", id="self", message=message)
            except OSError:
                pass
        finally:
            os._exit(1)

    def _import(self, request):
        """Third-party code runs from here on; nothing after the filter is trusted."""
        self.pin()
        hot_pages.give_up_locking()
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        self.filters["zygote"].install()
        sys.path[:] = self.stdlib + request["packages"]
        sys.path_importer_cache.clear()
        os.environ.update(handler.IMPORT_ENV)
        os.environ.update(request["env"])
        import_ahead.widen_namespaces(request["packages"])
        start = time.perf_counter_ns()
        import_ahead.import_all(request["imports"])
        spent = (time.perf_counter_ns() - start) // 1000
        import_ahead.know_namespaces(request["namespaces"])
        handler.rehearse_again()
        thread_hook.leave_out()
        gc.collect()
        packing.fill_holes()
        gc.freeze()
        self.say(event="ready", id="self", importUs=spent)

    def learn_hot_pages(self):
        """In the root zygote, once: those forked from it have the same pages at the same addresses."""
        self.copies_all = True  # so that it takes the way of children for which that is so
        try:
            self.hot_runs = rehearsal.hot_runs(self)
        except Exception as error:  # noqa: it is only about speed
            print("ol: forks will be slow, the rehearsal failed: %s" % error, file=sys.stderr)
        self.pin()

    def pin(self):
        """What the host does not let us pin is copied by page faults, and zygotes of zygotes may not."""
        self.pinned, self.copies_all = 0, False
        try:
            self.pinned, self.copies_all = hot_pages.pin(self.hot_runs)
        except Exception as error:  # noqa: it is only about speed
            print("ol: forks will be slow, no page could be pinned: %s" % error, file=sys.stderr)

    def command(self, request, fds):
        """fds: a status socket, stdout, stderr, the mounts, then one cgroup.procs per hierarchy."""
        _require_all(request, fds)
        self._closes(request, fds, lambda r, f: command.body(r, f, self.filters))


def main(control_fd, programs):
    """Entry of the root zygote: runs as root of the host inside the base, then gives that up."""
    control = socket.socket(fileno=control_fd)
    _raise_open_limit()
    sandbox.forbid_core_dumps()
    kernel.set_name(_PROCESS_NAME)
    entry.mount_first_proc()
    kernel.unshare(kernel.CLONE_NEWUSER | sandbox.NAMESPACES)
    control.send(b'{"event": "unmapped", "id": "self"}')
    if control.recv(16) != b"mapped":
        os._exit(1)
    entry.enter_own_namespaces(control, 1 << 20, True)
    kernel.remember_last_capability()
    stdlib = [place for place in sys.path if place]
    filters = {name: kernel.Filter(program) for name, program in programs.items()}
    zygote = Zygote(control, filters, stdlib)
    handler.set_up()
    handler.rehearse()
    thread_hook.leave_out()
    gc.collect()
    packing.fill_holes()
    gc.freeze()  # what is here now is never freed: children do not copy its pages to count it
    hot_pages.allow_locking()
    zygote.learn_hot_pages()
    gc.freeze()  # what it learnt
    zygote.say(event="ready", id="self", importUs=0, pinned=zygote.pinned)
    zygote.serve()

"""Everyday Python as a lambda, on a base that has nothing but Python; returns a word per thing that worked.

What each part asks of the kernel is the C library's choice, and the filter has to allow it.
"""

import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

PYTHON = "/usr/bin/python3"


def threads():
    result = []
    workers = [threading.Thread(target=result.append, args=(1,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert len(result) == 8
    # Of a size of its own, and a signal to one thread.
    threading.stack_size(1 << 20)
    threading.Thread(target=signal.pthread_kill, args=(threading.main_thread().ident, 0)).start()
    threading.stack_size(0)


def processes():
    answer = subprocess.run([PYTHON, "-c", "print(1)"], capture_output=True, timeout=30)
    assert answer.stdout == b"1\n", answer
    # Without descriptors to close, Python uses posix_spawn where it trusts the C library.
    subprocess.run([PYTHON, "-c", ""], close_fds=False, check=True, timeout=30)
    spawned = os.posix_spawn(PYTHON, [PYTHON, "-c", "raise SystemExit(3)"], {}, setsigmask=[])
    assert os.waitstatus_to_exitcode(os.waitpid(spawned, 0)[1]) == 3
    with multiprocessing.Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
    # A named semaphore in /dev/shm.
    with multiprocessing.Lock():
        pass
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        assert list(executor.map(abs, [-3])) == [3]


def files():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "file")
        with open(path, "wb") as file:
            file.write(b"z" * 100000)
            os.fsync(file.fileno())
            os.posix_fallocate(file.fileno(), 0, 200000)
            os.lockf(file.fileno(), os.F_LOCK, 0)
        os.mkfifo(path + "-fifo")
        os.chmod(path, 0o600)
        os.utime(path, (1, 1))
        os.symlink(path, path + "-link")
        os.rename(path, path + "2")
        assert os.access(path + "2", os.R_OK, effective_ids=True)
        assert os.stat(path + "2").st_mtime == 1
        assert len(os.listdir(directory)) == 3
        assert os.statvfs(directory).f_bsize > 0
        os.truncate(path + "2", 10)
        with open(path + "2", "rb") as source, open(path + "3", "wb") as target:
            assert os.sendfile(target.fileno(), source.fileno(), 0, 10) == 10


def sockets():
    left, right = socket.socketpair()
    left.send(b"y")
    assert right.recv(1) == b"y"
    server = socket.socket(socket.AF_UNIX)
    server.bind("/tmp/socket")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("/tmp/socket")
    peer, _ = server.accept()
    client.sendmsg([b"a", b"b"])
    assert peer.recv(2) == b"ab"
    os.unlink("/tmp/socket")


def network():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(("localhost", server.getsockname()[1]), 30)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer, _ = server.accept()
    client.sendall(b"x")
    assert peer.recv(1) == b"x"
    # The C library asks for them over a netlink socket.
    assert "lo" in [name for _, name in socket.if_nameindex()]


def tasks():
    async def both():
        process = await asyncio.create_subprocess_exec(PYTHON, "-c", "")
        await asyncio.gather(asyncio.sleep(0.001), process.wait())
        return await asyncio.to_thread(abs, -4)

    assert asyncio.run(both()) == 4


def system():
    assert not os.isatty(1)
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    assert os.cpu_count() >= 1
    os.getloadavg()
    os.getrandom(8)
    os.close(os.memfd_create("m"))
    os.nice(1)
    time.sleep(0.001)
    time.tzset()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    assert signal.sigtimedwait([signal.SIGALRM], 30) is not None


def handler(event):
    parts = [threads, processes, files, sockets, tasks, system]
    if event == "network":
        parts.append(network)
    for part in parts:
        part()
    return [part.__name__ for part in parts]

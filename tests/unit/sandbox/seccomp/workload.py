"""Everyday Python under the filter; prints one word per thing that worked."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request  # noqa: F401  (imports half of the standard library)


def square(x):
    return x * x


def main():
    result = []
    workers = [threading.Thread(target=lambda: result.append(1)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(result) == 8
    print("threads")

    assert subprocess.run(["/bin/sh", "-c", "echo $((6*7)) | cat"], capture_output=True).stdout == b"42\n"
    assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, timeout=30).stdout == b"1\n"
    print("subprocess")

    with multiprocessing.Pool(2) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
    lock = multiprocessing.Lock()
    with lock:
        pass
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        assert list(executor.map(square, [3])) == [9]
    print("multiprocessing")

    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer, _ = server.accept()
    client.sendall(b"x")
    assert peer.recv(1) == b"x"
    left, right = socket.socketpair()
    left.send(b"y")
    assert right.recv(1) == b"y"
    socket.getaddrinfo("localhost", 80)
    print("sockets")

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "db")
        with sqlite3.connect(path) as db:
            db.execute("pragma journal_mode=wal")
            db.execute("create table t (x)")
            db.execute("insert into t values (1)")
            assert db.execute("select sum(x) from t").fetchone() == (1,)
        os.mkfifo(os.path.join(directory, "fifo"))
        os.chmod(path, 0o600)
        os.rename(path, path + "2")
        with open(path + "3", "wb") as file:
            file.write(b"z" * 100000)
            os.fsync(file.fileno())
            os.posix_fallocate(file.fileno(), 0, 200000)
    print("files")

    ssl.create_default_context()
    print("ssl")

    async def both():
        process = await asyncio.create_subprocess_exec("/bin/true")
        await asyncio.gather(asyncio.sleep(0.01), process.wait())
        return await asyncio.to_thread(square, 4)

    assert asyncio.run(both()) == 16
    print("asyncio")

    os.isatty(0)
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.getrandom(8)
    os.memfd_create("m")
    os.nice(1)
    time.sleep(0.001)
    print("system")


if __name__ == "__main__":
    main()

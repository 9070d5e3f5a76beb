"""Loads a lambda and answers its calls over one socket. The same for every engine.

Everything here runs with the lambda's own (absent) privileges, after the sandbox is closed.
"""

import builtins
import importlib.machinery
import io
import json
import linecache
import marshal
import os
import random  # noqa: so that a fork seeds it anew
import socket
import sys
import threading
import time
import traceback
import types

import import_ahead
import wire

HANDLER_DIR = "/handler"
HANDLER_FILE = "/handler/lambda_func.py"
OUTPUT_MAX = 8 * 1024 * 1024  # the same as OUTPUT_MAX_BYTES of the worker
REHEARSALS = 30
REHEARSALS_AGAIN = 3
MESSAGE_MAX = 32 * 1024
GUEST_MARK = "<openlambda>/"

# What packages find while they are imported, in a zygote and in a sandbox alike, so that it makes no
# difference where that is. Numeric libraries start a thread per CPU of the host then, which a fork
# does not copy and limits.procs counts; others look for a place for their caches.
IMPORT_ENV = {
    "HOME": "/tmp",
    "MPLCONFIGDIR": "/tmp",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_environ = os.environ  # a lambda may put something else in its place


class _NoHandler(Exception):
    """The lambda was loaded, and there is nothing in it to call."""


class _BoundedOutput(io.RawIOBase):
    """A stream that keeps its first `limit` bytes and then says once that it dropped the rest."""

    def __init__(self, fd, limit):
        super().__init__()
        self._fd = fd
        self._left = limit
        self._limit = limit

    def writable(self):
        return True

    def fileno(self):
        return self._fd

    def write(self, data):
        size = len(data)
        if self._left > 0:
            part = data[: self._left]
            self._left -= len(part)
            wire.write_all(self._fd, part)
            if self._left == 0:
                note = "\n[openlambda: output limit of %d bytes reached, the rest is dropped]\n"
                wire.write_all(self._fd, (note % self._limit).encode())
        return size


def _open_output(fd, limit):
    raw = _BoundedOutput(fd, limit)
    return io.TextIOWrapper(
        io.BufferedWriter(raw, 8192), "utf-8", "backslashreplace", line_buffering=True
    )


def describe(error):
    """The error as Python prints it, without the guest's own frames."""
    try:
        seen = set()
        part = error
        while part is not None and id(part) not in seen:
            seen.add(id(part))
            part.__traceback__ = _foreign_frames(part.__traceback__)
            part = part.__context__ if part.__cause__ is None else part.__cause__
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except BaseException:  # noqa: a hostile exception must not end the guest
        text = "%s (its traceback cannot be printed)\n" % _type_name(error)
    return text[-MESSAGE_MAX:]


def _foreign_frames(frames):
    kept = []
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(GUEST_MARK):
            kept.append(frames)
        frames = frames.tb_next
    for index, frame in enumerate(kept):
        frame.tb_next = kept[index + 1] if index + 1 < len(kept) else None
    return kept[0] if kept else None


def _type_name(error):
    return type.__dict__["__name__"].__get__(type(error))


def _trace(error):
    """As much of the end as the worker reads, in bytes, without half a character before it."""
    text = describe(error).encode("utf-8", "backslashreplace")[-MESSAGE_MAX:]
    return text.decode("utf-8", "ignore").encode()


def set_up():
    """What is the same for every lambda: streams, arguments, an empty environment."""
    sys.argv = [HANDLER_FILE]
    sys.dont_write_bytecode = True
    sys.stdout = sys.__stdout__ = _open_output(1, OUTPUT_MAX)
    sys.stderr = sys.__stderr__ = _open_output(2, OUTPUT_MAX)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)
    linecache.clearcache()
    sys.path_importer_cache.clear()
    os.environ.clear()


def _rehearsed_lambda():
    """An assignment as the worker sends it, of a lambda that answers like a real one."""
    source = "def handler(event):\n    return '%s' % event['x']\n"
    code = marshal.dumps(compile(source, "x", "exec"))
    config = {"env": {}, "packages": [], "stdlib": list(sys.path)}
    head = json.dumps(config).encode()
    return len(head).to_bytes(4, "little") + head + code


def _rehearse_once(assignment):
    """The way of a first call from the assignment to the answer, without the socket."""
    path = list(sys.path)
    config, code = split_assign(assignment)
    prepare(config)
    handler = load(config, code)[0]
    forget_import_env(config)
    del sys.modules["lambda_func"]
    sys.path[:] = path
    event = wire.Reader(-1, _REHEARSED_CALL).read()[2]
    return _ready(0, b"") + _answer(handler, 0, event)


_REHEARSED_CALL = wire.frame(wire.CALL, 0, b'{"x": [1, "a", null]}')
_rehearsed = b""


def rehearse():
    """The way of a call, in the zygote and often enough for the interpreter to adapt its bytecode.

    A forked child pays a page fault for each page that it is the first to write, if only a
    reference count or a bytecode's counter; what has been adapted before the fork is only read.
    """
    global _rehearsed
    _rehearsed = _rehearsed_lambda()
    for _ in range(REHEARSALS):
        _rehearse_once(_rehearsed)


def rehearse_again():
    """The same once packages are imported, which took the places that a call had in caches.

    The interpreter's cache of methods holds references: a child that replaces an entry of a package
    writes to the package's pages. Whatever a package has put in the place of something used here may
    fail as it likes: it is only about speed.
    """
    try:
        getattr(sys, "_clear_type_cache", int)()
        for _ in range(REHEARSALS_AGAIN):
            _rehearse_once(_rehearsed)
    except Exception as error:  # noqa: see above
        print("ol: the rehearsal failed after the imports: %s" % error, file=sys.stderr)


def rehearsed_frames(limits):
    """What a worker sends for a first call: an assignment with these limits, and the call."""
    config, code = split_assign(_rehearsed)
    head = json.dumps(dict(config, concurrency=1, **limits)).encode()
    payload = len(head).to_bytes(4, "little") + head + code
    return wire.frame(wire.ASSIGN, 0, payload) + _REHEARSED_CALL


def warm_up(is_copied):
    """In a child that waits for its lambda: its own randomness, and the pages of a call touched.

    Copying those pages is most of what a call would have to wait for; a fork may have done it.
    """
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()  # Python's own generator is seeded anew by every fork
    if os.environ:
        os.environ.clear()
    if not is_copied:
        _rehearse_once(_rehearsed)


def prepare(config):
    """Sets environment and paths to what this lambda was promised."""
    if config["packages"]:
        os.environ.update(IMPORT_ENV)
    os.environ.update(config["env"])
    sys.path[:] = [HANDLER_DIR] + config["stdlib"] + config["packages"]
    import_ahead.widen_namespaces(config["packages"])


def forget_import_env(config):
    """Leaves the handler what its settings give, and what its own code has set."""
    if config["packages"]:
        for name, value in IMPORT_ENV.items():
            if name not in config["env"] and _environ.get(name) == value:
                del _environ[name]


def load(config, code):
    """Runs lambda_func.py. Returns (handler, marshalled code or b"" where it was given)."""
    fresh = b""
    if code:
        compiled = marshal.loads(code)
    else:
        with open(HANDLER_FILE, "rb") as file:
            compiled = compile(file.read(), HANDLER_FILE, "exec", dont_inherit=True)
        fresh = marshal.dumps(compiled)
    module = types.ModuleType("lambda_func")
    module.__file__ = HANDLER_FILE
    module.__builtins__ = builtins
    module.__loader__ = importlib.machinery.SourceFileLoader("lambda_func", HANDLER_FILE)
    sys.modules["lambda_func"] = module
    exec(compiled, module.__dict__)
    handler = module.__dict__.get("handler")
    if handler is None:
        raise _NoHandler("lambda_func.py defines no function named handler(event)")
    if not callable(handler):
        raise _NoHandler("handler in lambda_func.py is not a function")
    return handler, fresh


def _refuse_constant(name):
    raise ValueError("%s is no JSON" % name)


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _parse(event):
    """As json.loads, but for NaN and Infinity, which are no JSON."""
    if event.startswith(b"\xef\xbb\xbf"):
        event = event[3:]
    return _decode(event.decode())


def _answer(handler, call, event):
    """One call from bytes to the frame that answers it."""
    try:
        argument = _parse(event) if event else None
    except (ValueError, RecursionError) as error:
        return wire.frame(wire.BAD_EVENT, call, str(error)[:1000].encode("utf-8", "replace"))
    start = time.perf_counter_ns()
    try:
        value = handler(argument)
    except BaseException as error:
        return wire.frame(wire.EXCEPTION, call, _trace(error))
    # A lambda may have put another clock in its place.
    spent = min(max((time.perf_counter_ns() - start) // 1000, 0), 0xFFFFFFFF)
    try:
        body = json.dumps(value, allow_nan=False).encode()
    except BaseException as error:
        reason = "handler returned what JSON cannot hold: " + _name(error)
        return wire.frame(
            wire.RESULT_INVALID, call, reason[:1000].encode("utf-8", "backslashreplace")
        )
    if len(body) > wire.PAYLOAD_MAX - 4:
        reason = "handler returned %d bytes of JSON, at most %d are allowed"
        reason = reason % (len(body), wire.PAYLOAD_MAX - 4)
        return wire.frame(wire.RESULT_INVALID, call, reason.encode())
    return wire.frame(wire.RESULT, call, spent.to_bytes(4, "little") + body)


def _name(error):
    try:
        return "%s: %s" % (_type_name(error), error)
    except BaseException:  # noqa: a hostile __str__ must not end the guest
        return _type_name(error)


def _ready(import_us, code):
    head = json.dumps({"importUs": import_us, "pid": os.getpid()}).encode()
    return wire.frame(wire.READY, 0, len(head).to_bytes(4, "little") + head + code)


def _flush():
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except BaseException:  # noqa: a lambda may close, replace or delete its streams
            pass


def serve(sock, reader, config, code):
    """Answers calls until the worker closes the socket. Returns when there is nothing left to do."""
    fd = sock.fileno()
    start = time.perf_counter_ns()
    try:
        prepare(config)
        handler, fresh = load(config, code)
        forget_import_env(config)
    except BaseException as error:
        message = str(error).encode() if isinstance(error, _NoHandler) else _trace(error)
        _flush()
        wire.write_all(fd, wire.frame(wire.LOAD_FAILED, 0, message))
        # The worker reads the reason, then destroys the sandbox.
        while os.read(fd, 65536):
            pass
        return
    ready = _ready((time.perf_counter_ns() - start) // 1000, fresh)
    if config["concurrency"] > 1:
        wire.write_all(fd, ready)
        _serve_threads(fd, reader, handler)
        return
    reader.poll(sock)
    # Compiled code goes out before the first event comes in, or whoever gets hold of this process
    # through that event could offer code for all later ones. Else one write is saved.
    if fresh or not reader.pending():
        wire.write_all(fd, ready)
        ready = b""
    while True:
        message = reader.read()
        if message is None:
            return
        answer = _answer(handler, message[1], message[2])
        _flush()
        wire.write_all(fd, ready + answer if ready else answer)
        ready = b""


def _serve_threads(fd, reader, handler):
    """As `serve` for max_runners > 1: the worker bounds how many calls are here at once."""
    lock = threading.Lock()

    def run(call, event):
        answer = _answer(handler, call, event)
        _flush()
        with lock:
            wire.write_all(fd, answer)

    while True:
        message = reader.read()
        if message is None:
            return
        threading.Thread(target=run, args=(message[1], message[2]), daemon=True).start()


def main_connect(path):
    """Entry of an engine whose guest connects to the worker: one unix socket, first frame ASSIGN."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    reader = wire.Reader(sock.fileno())
    message = reader.read()
    if message is None or message[0] != wire.ASSIGN:
        return
    config, code = split_assign(message[2])
    config["stdlib"] = [entry for entry in sys.path if entry.startswith(sys.base_prefix)]
    set_up()
    serve(sock, reader, config, code)


def split_assign(payload):
    """ASSIGN carries u32 length of a JSON object, the object, then the lambda's compiled code."""
    length = int.from_bytes(payload[:4], "little")
    return json.loads(payload[4 : 4 + length]), payload[4 + length :]

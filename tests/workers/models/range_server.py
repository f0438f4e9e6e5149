"""A store over real HTTP that serves ranges, counts what it sends, and fails as it is told to."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK_BYTES = 1 << 16


@dataclass
class RangeStore:
    """What the server has and does. ``faults`` are taken by the first ranges that are asked for, one each."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: list[Callable[[RangeHandler], None]] = field(default_factory=list)
    always: Callable[[RangeHandler], None] | None = None
    """Answers every range, in place of the store."""
    signature: str = "1"
    """The only one that is taken."""
    etags: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Path and Range of each."""
    sent_bytes: int = 0
    """Of bodies of ranges."""
    before_chunk: Callable[[int], object] = lambda _: None
    """Called with ``sent_bytes`` before each 64 KiB."""
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, data: bytes) -> str:
        """Store an object, and return its ETag."""
        self.objects[path] = data
        self.etags[path] = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return self.etags[path]

    def link(self, path: str) -> str:
        """A presigned URL."""
        return f"{self.url}/{path}?sig={self.signature}"

    def ranges_of(self, path: str) -> list[str]:
        return [range_ for at, range_ in self.requests if at == path and range_]


class RangeHandler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: RangeStore
    data: bytes
    first: int
    last: int

    def do_GET(self) -> None:
        path, _, query = self.path.lstrip("/").partition("?")
        range_ = self.headers.get("Range", "")
        with self.store.lock:
            self.store.requests.append((path, range_))
            fault = self.store.faults.pop(0) if range_ and self.store.faults else None
        if query != f"sig={self.store.signature}":
            return self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        if path not in self.store.objects:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        self.data = self.store.objects[path]
        if not (match := re.fullmatch(r"bytes=(\d+)-(\d+)", range_)):
            return self.answer(200, self.data)
        self.first, self.last = int(match[1]), int(match[2])
        if (wanted := self.headers.get("If-Match")) and wanted != f'"{self.store.etags[path]}"':
            return self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        return (fault or self.store.always or RangeHandler.serve)(self)

    @property
    def part(self) -> bytes:
        return self.data[self.first : self.last + 1]

    def serve(self) -> None:
        """The answer of a store that is well."""
        self.send(self.part)

    def send(self, body: bytes, *, content_range: str = "", length: int | None = None) -> None:
        """A 206 with this body."""
        self.send_response(206)
        self.send_header("Content-Range", content_range or f"bytes {self.first}-{self.last}/{len(self.data)}")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        for begin in range(0, len(body), CHUNK_BYTES):
            self.store.before_chunk(self.store.sent_bytes)
            with self.store.lock:  # before they are sent: a client that has them can rely on the count
                self.store.sent_bytes += len(body[begin : begin + CHUNK_BYTES])
            self.wfile.write(body[begin : begin + CHUNK_BYTES])

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what the tests want."""


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def cut_off(handler: RangeHandler) -> None:
    """Half of the body, and the connection ends."""
    handler.send(handler.part[: len(handler.part) // 2], length=len(handler.part))
    handler.close_connection = True


def wrong_bytes(handler: RangeHandler) -> None:
    """As long as it should be, with one bit turned."""
    part = bytearray(handler.part)
    part[len(part) // 2] ^= 1
    handler.send(bytes(part))


def short_body(handler: RangeHandler) -> None:
    handler.send(handler.part[:-1])


def long_body(handler: RangeHandler) -> None:
    handler.send(handler.part + b"x")


def other_range(handler: RangeHandler) -> None:
    size = len(handler.part)
    handler.send(handler.part, content_range=f"bytes 1-{size}/{len(handler.data)}")


def other_size(handler: RangeHandler) -> None:
    handler.send(handler.part, content_range=f"bytes {handler.first}-{handler.last}/{len(handler.data) + 1}")


def whole_file(handler: RangeHandler) -> None:
    """A server that does not know Range."""
    handler.answer(200, handler.data)


def redirect(handler: RangeHandler) -> None:
    handler.answer(307, b"", Location=handler.store.link("elsewhere"))


def unavailable(handler: RangeHandler) -> None:
    handler.answer(503, b"<Error><Code>SlowDown</Code></Error>")


def nothing(handler: RangeHandler) -> None:
    """Not even a status line."""
    handler.close_connection = True


def nonsense(handler: RangeHandler) -> None:
    handler.wfile.write(b"\x16\x03\x01\x00 this is no HTTP\r\n\r\n")
    handler.close_connection = True


def hang(handler: RangeHandler) -> None:
    """Half of the body, then silence for as long as the server runs."""
    half = handler.part[: len(handler.part) // 2]
    handler.send(half, length=len(handler.part))
    handler.wfile.flush()
    handler.store.ended.wait()
    handler.close_connection = True


def trickle(handler: RangeHandler) -> None:
    """A byte now and then, never long enough apart for a timeout. Not of a part that ends so nonetheless."""
    if len(handler.part) < CHUNK_BYTES:
        handler.store.faults.append(trickle)
        return handler.serve()
    handler.send(b"", length=len(handler.part))
    for byte in handler.part:
        handler.wfile.write(bytes([byte]))
        if handler.store.ended.wait(0.02):
            break
    handler.close_connection = True
    return None


@contextmanager
def serving(store: RangeStore) -> Iterator[RangeStore]:
    """The store on loopback."""
    handler = type("BoundRangeHandler", (RangeHandler,), {"store": store})
    server = _QuietServer(("127.0.0.1", 0), handler)
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        store.ended.set()
        with contextlib.suppress(OSError):
            server.shutdown()
        server.server_close()
        thread.join()

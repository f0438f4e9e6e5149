"""A server with fixed answers, for requests of apps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def answering(*answers: Any) -> Iterator[tuple[str, list[bytes]]]:
    """A server with these answers, one after the other; the last one again and again.

    Each is a status, a body, and any number of headers as pairs.
    """
    received: list[bytes] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"] or 0)))
            status, body, *headers = answers[min(len(received), len(answers)) - 1]
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            if "content-length" not in dict(headers):
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST  # noqa: N815 - the server's own names

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()

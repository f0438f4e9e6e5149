"""An app that receives callbacks: ``python -m tests.webhook.callbacks.receiving_app FOLDER [PORT]``.

It verifies each callback with the library, writes it down as a line of ``received.jsonl``, and answers with the status
in the file ``status`` (200 where there is none) after it has written. What it answers with an error goes to
``refused.jsonl`` instead. It is made to be killed at any moment.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from workers import parent_death

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMhISE="


class ReceivingHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError("the sender was killed in the midst of its callback")
        told = Webhook(SECRET).verify(body, dict(self.headers.items()))
        status = int(_read(self.folder / "status") or 200)
        name = "received.jsonl" if status < 300 else "refused.jsonl"
        _append(self.folder / name, {"id": self.headers["webhook-id"], **told})
        location = _read(self.folder / "location")
        self.send_response(status)
        if location:
            self.send_header("location", location)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


class QuietServer(ThreadingHTTPServer):
    """Prints nothing of clients that go away in the midst of a request: they are killed, too."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what is no fault of a connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _append(path: Path, line: dict[str, Any]) -> None:
    """In one write, so that a kill leaves a line whole or not there."""
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")


def received(folder: Path) -> list[dict[str, Any]]:
    """What the app has taken, in the order in which it came."""
    return [json.loads(line) for line in _read(folder / "received.jsonl").splitlines()]


def refused(folder: Path) -> int:
    """How many callbacks the app has answered with an error."""
    return len(_read(folder / "refused.jsonl").splitlines())


def main() -> None:
    """Serve until killed, or until the parent process ends."""
    parent_death.watch()
    folder, port = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    handler = type("Handler", (ReceivingHandler,), {"folder": folder})
    server = QuietServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    (folder / "port.new").write_text(str(server.server_port))
    (folder / "port.new").replace(folder / "port")
    server.serve_forever()


if __name__ == "__main__":
    main()

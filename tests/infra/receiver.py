"""A real webhook receiver on loopback that remembers every request and answers as told."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Post:
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(json.loads(self.body)["events"])


class RecordingReceiver:
    """Answers 200, or the given statuses first. Status 0 hangs until the receiver is closed."""

    def __init__(self, *statuses: int) -> None:
        self.posts: list[Post] = []
        self._statuses = deque(statuses)
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1/notifications/tigris"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for post in self.posts for event in post.events]

    @property
    def told(self) -> list[tuple[str, str]]:
        """Name and key of every event, in order of arrival."""
        return [(event["eventName"], event["object"]["key"]) for event in self.events]

    def wait(self, until: Callable[[RecordingReceiver], bool], deadline_seconds: float = 20) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: until(self), deadline_seconds), f"only got {self.told}"

    def _take(self, post: Post) -> int:
        with self._changed:
            self.posts.append(post)
            self._changed.notify_all()
            return self._statuses.popleft() if self._statuses else 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver._take(Post({k.lower(): v for k, v in self.headers.items()}, body))
                if not status:
                    receiver._closing.wait()
                    self.close_connection = True
                    return
                self.send_response(status)
                if status in (301, 307):
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

"""A real webhook receiver on loopback that records every request and answers with given statuses."""

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


class RecordingServer(ThreadingHTTPServer):
    """Holds what the handlers of its requests share."""

    def __init__(self, statuses: tuple[int, ...]) -> None:
        super().__init__(("127.0.0.1", 0), RecordingHandler)
        self.posts: list[Post] = []
        self.statuses = deque(statuses)
        self.changed = threading.Condition()
        self.closing = threading.Event()

    def record(self, post: Post) -> int:
        """Add a request; the status to answer with."""
        with self.changed:
            self.posts.append(post)
            self.changed.notify_all()
            return self.statuses.popleft() if self.statuses else 200


class RecordingHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RecordingServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.server.record(Post({k.lower(): v for k, v in self.headers.items()}, body))
        if not status:
            self.server.closing.wait()
            self.close_connection = True
            return
        self.send_response(status)
        if status in (301, 307):
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class RecordingReceiver:
    """Answers 200, or the given statuses first. Status 0 hangs until the receiver is closed."""

    def __init__(self, *statuses: int) -> None:
        self._server = RecordingServer(statuses)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1/notifications/tigris"

    @property
    def posts(self) -> list[Post]:
        return self._server.posts

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for post in self.posts for event in post.events]

    @property
    def names_and_keys(self) -> list[tuple[str, str]]:
        """Name and key of every event, in order of arrival."""
        return [(event["eventName"], event["object"]["key"]) for event in self.events]

    def wait(self, condition: Callable[[RecordingReceiver], bool], deadline_seconds: float = 20) -> None:
        """Wait until the requests meet a condition."""
        with self._server.changed:
            met = self._server.changed.wait_for(lambda: condition(self), deadline_seconds)
            assert met, f"only received {self.names_and_keys}"

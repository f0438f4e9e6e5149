"""A stand-in for a model's server: ``python stand_in.py PORT [slow|ill|deaf|fragile]``. Standard library only."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODE = sys.argv[2] if len(sys.argv) > 2 else ""
STARTED_AT = time.monotonic()
busy = {"left": 2}


class StandIn(BaseHTTPRequestHandler):
    """Answers what each path names."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health-check":
            starting = MODE == "slow" and time.monotonic() - STARTED_AT < 0.3
            self.answer({"status": "STARTING" if starting else "READY"})
        elif self.path == "/environment":
            self.answer({name: value for name, value in os.environ.items() if name.startswith("YURT_")})
        elif self.path == "/process":
            self.answer({"pid": os.getpid(), "folder": str(Path.cwd())})
        else:
            self.answer({}, 404)

    def do_POST(self) -> None:  # noqa: C901 - one case a path
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        match self.path.partition("?")[0]:
            case "/predictions":  # as cog: the picture by its URL, the result as a data URL
                picture = urllib.request.urlopen(json.loads(body)["input"]["image"]).read()
                data = base64.b64encode(picture[::-1]).decode()
                self.answer({"status": "succeeded", "output": [f"data:image/png;base64,{data}"]})
            case "/failed-predictions":  # as cog, of a prediction that raised
                self.answer({"status": "failed", "error": "CUDA out of memory", "output": None})
            case "/v1/chat/completions":
                asked = json.loads(body)
                [text, picture] = asked["messages"][0]["content"]
                size = len(urllib.request.urlopen(picture["image_url"]["url"]).read())
                content = f"{asked['model']}: {text['text']} {size} bytes"
                self.answer({"choices": [{"message": {"content": content}}]})
            case "/echo":
                self.answer(body, kind=self.headers.get("X-Type", "application/octet-stream"))
            case "/headers":
                self.answer({"path": self.path, "key": self.headers.get("X-Key"), "type": self.headers["Content-Type"]})
            case "/put":  # results by reference: to the URLs that it got
                for name, url in json.loads(body).items():
                    request = urllib.request.Request(url, f"made {name}".encode(), method="PUT")
                    urllib.request.urlopen(request).read()
                self.answer(None)
            case "/busy":
                busy["left"] -= 1
                self.answer({"done": True}, 429 if busy["left"] >= 0 else 200, {"Retry-After": "0"})
            case "/busy-predictions":  # as cog, which works on one at a time
                busy["left"] -= 1
                if busy["left"] >= 0:
                    self.answer({"detail": "Already running a prediction"}, 409, {"Retry-After": "0"})
                else:
                    self.answer({"status": "succeeded", "output": "done"})
            case "/refuse":
                self.answer({"detail": "no face in it"}, 422)
            case "/fail":
                self.answer({}, 500)
            case "/redirect":
                self.answer({}, 302, {"Location": "http://127.0.0.1:9/"})
            case "/nonsense":
                self.answer(b"{", kind="application/json")
            case "/short":
                self.answer(b"0123456789", kind="image/png", extra=5)
                self.close_connection = True
            case "/endless":
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.end_headers()
                while True:
                    self.wfile.write(b"x" * 65_536)
            case "/hang":
                time.sleep(600)
            case "/die":
                os._exit(3)

    def answer(
        self, body: Any, status: int = 200, headers: dict[str, str] | None = None, *, kind: str = "", extra: int = 0
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(content) + extra))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""


if MODE == "ill":
    sys.exit("no CUDA device")
if MODE == "deaf":
    time.sleep(600)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), StandIn).serve_forever()

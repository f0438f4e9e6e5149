"""An app's own server: one page with a strict policy, and tickets for its visitors."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

POLICY = (
    "default-src 'none'; script-src 'self' {yurt}; connect-src 'self' {yurt} {store}; img-src {store}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Of the page: no inline script or style, no image but from the store. ``{more}`` is allowed to be called besides."""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Photos</title>
<script type="module" src="/page.js"></script></head><body><main><h1>Photos</h1>{content}</main></body></html>"""
SCRIPT = """import * as yurt from "{yurt}/yurt.js";
window.yurt = yurt;
window.told = [];
for (const name of ["yurt-upload", "yurt-result", "yurt-error"]) {{
  addEventListener(name, ({{ detail }}) => told.push({{
    name, ticket: detail.ticket, key: detail.key ?? detail.object?.key, code: detail.error?.code,
    file: detail.file?.name, verdict: detail.object?.result?.verdict,
  }}));
}}
window.ready = true;
"""


class AppServer(ThreadingHTTPServer):
    """Listens on loopback on a thread of its own. ``tickets`` are handed out one after the other, the last for ever."""

    daemon_threads = True

    def __init__(self, yurt: str, store: str) -> None:
        super().__init__(("127.0.0.1", 0), _AppRequest)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.yurt, self.store = yurt, store
        self.content = ""
        self.scripts: dict[str, bytes] = {}
        """Modules by path."""
        self.connect_to = ""
        """What the page may call beside the app, the control plane and the store."""
        self.tickets: list[str] = []
        self.asked: list[Any] = []
        """Bodies of the requests for tickets."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()


class _AppRequest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AppServer

    def do_GET(self) -> None:
        app = self.server
        if self.path == "/page.js":
            self._answer(200, "text/javascript", SCRIPT.format(yurt=app.yurt).encode())
        elif self.path in app.scripts:
            self._answer(200, "text/javascript", app.scripts[self.path])
        else:
            self._answer(200, "text/html; charset=utf-8", PAGE.format(content=app.content).encode())

    def do_POST(self) -> None:
        app = self.server
        app.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        if not app.tickets:
            self._answer(403, "application/json", b'{"error": "full", "message": "Your album is full."}')
            return
        ticket = app.tickets.pop(0) if len(app.tickets) > 1 else app.tickets[0]
        self._answer(200, "application/json", json.dumps({"ticket": ticket}).encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        app = self.server
        policy = POLICY.format(yurt=app.yurt, store=f"{app.store} {app.connect_to}")
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-security-policy", policy)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass

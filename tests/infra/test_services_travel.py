"""A request to a service has a machine minted, is answered by the server there, and the machine leaves again."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from infra.stack import running
from tests.polling import wait_until
from tests.workers.servers.running import free_port
from webhook.config_file import load
from workers.handlers.registry import options_model

SERVER = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(f"{os.getpid()} {self.path}".encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["content-length"]))[::-1])

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
CONFIG = """
[server]
listen = "127.0.0.1:0"
autoscale_seconds = 0.2
[pipelines.photos]
input = "s3://photos-in/uploads/"
output = "s3://photos-out/results/"
[pools.local]
provider = "local"
limit = 1
[services.echo]
pool = "local"
command = ["{python}", "{script}", "{port}"]
port = {port}
idle_seconds = 1
{way}
"""


@pytest.mark.parametrize("way", ["tunnel", "direct"])
def test_a_service_is_minted_for_a_request_and_scales_to_zero(tmp_path: Path, way: str) -> None:
    script, path = tmp_path / "server.py", tmp_path / "yurt.toml"
    script.write_text(SERVER)
    chosen = f'way = "direct"\ndirect_port = {free_port()}' if way == "direct" else ""
    path.write_text(CONFIG.format(python=sys.executable, script=script, port=free_port(), way=chosen))
    with running(load(path, options_model), path, tmp_path / "state") as stack:
        headers = {"Authorization": f"Bearer {stack.keys.admin}"}
        with httpx.Client(base_url=stack.url, headers=headers, timeout=60) as http:
            first = http.get("/services/echo/a/b?c=%20d")
            assert (first.status_code, first.text.split(" ", 1)[1]) == (200, "/a/b?c=%20d")
            assert http.post("/services/echo/", content=b"yurt").text == "truy"
            wait_until(lambda: not http.get("/v1/machines").json()["machines"], failure="the machine is not slain")
            again = http.get("/services/echo/")
            assert again.status_code == 200
            assert again.text.split()[0] != first.text.split()[0], "the server that was to leave has answered"

"""A request to a service has a machine minted, is answered by the server there, and the machine leaves again.

The server's weights get there with it, and each version of them has a server of its own.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import httpx
import pytest

from infra.models.publishing import publish_folder
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
        weights = open(sys.argv[2] + "/weights.txt").read() if len(sys.argv) > 2 else ""
        self.answer(f"{os.getpid()} {self.path} {weights}".strip().encode())

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


WITH_MODEL = """
models = ["voice"]
[models.voice]
source = "s3://models/voice"
"""


def test_a_server_has_its_weights_and_a_newer_version_has_another_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    script, path, folder = tmp_path / "server.py", tmp_path / "yurt.toml", tmp_path / "voice"
    script.write_text(SERVER)
    folder.mkdir()
    text = CONFIG.replace('"{port}"]', '"{port}", "{{model:voice}}"]').replace("idle_seconds = 1", "idle_seconds = 60")
    path.write_text(text.format(python=sys.executable, script=script, port=free_port(), way=WITH_MODEL))
    config = load(path, options_model)
    with running(config, path, tmp_path / "state") as stack:
        s3, headers = stack.s3(), {"Authorization": f"Bearer {stack.keys.admin}"}
        with httpx.Client(base_url=stack.url, headers=headers, timeout=60) as http:

            def is_missing() -> bool:
                answer = http.get("/services/echo/")
                return answer.status_code == 503 and "yurt models publish voice" in answer.text

            wait_until(is_missing, failure="nobody is told that its model is missing")

            def process_with(weights: str) -> str:
                """The server's process, if it has these weights."""
                answer = http.get("/services/echo/")
                assert answer.status_code in ({200} if processes else {200, 503}), answer.text
                process, _, found = answer.text.partition(" / ")
                return process if found == weights else ""

            processes: list[str] = []
            for weights in ("low", "high"):
                (folder / "weights.txt").write_text(weights)
                publish_folder(s3, config.models["voice"], folder)
                wait_until(functools.partial(process_with, weights), seconds=60)
                processes.append(process_with(weights))
            assert len(set(processes)) == 2, "other weights were put under a server that runs"
            assert len(http.get("/v1/machines").json()["machines"]) == 1, "the machine is the same"
        stack.check()

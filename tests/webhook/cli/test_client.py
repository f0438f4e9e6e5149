from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from webhook.cli.client import ControlPlaneRefused, ControlPlaneUnreachable, ask, call

TOKEN = "s3cret"


class AdminApiHandler(BaseHTTPRequestHandler):
    """Answers with the status in the path and the body of the request, or with the authorization it received."""

    def do_POST(self) -> None:
        self.send_response(int(self.path.rpartition("/")[2]))
        self.end_headers()
        self.wfile.write(self.rfile.read(int(self.headers["content-length"])))

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(
            json.dumps({"path": self.requestline.split()[1], "authorization": self.headers["authorization"]}).encode()
        )

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), AdminApiHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served() as url:
        yield url


def test_a_response_is_its_json_object_and_the_request_carries_the_token(url: str) -> None:
    assert ask("GET", f"{url}/", "/v1/status", TOKEN) == {"path": "/v1/status", "authorization": f"Bearer {TOKEN}"}


def test_a_refusal_has_the_control_planes_message(url: str) -> None:
    with pytest.raises(ControlPlaneRefused, match="answered 409: there is no such pool"):
        ask("POST", url, "/409", TOKEN, {"message": "there is no such pool"})


@pytest.mark.parametrize("status", [429, 503])
def test_what_passes_is_no_refusal(url: str, status: int) -> None:
    with pytest.raises(ControlPlaneUnreachable, match=f"answered {status}") as caught:
        ask("POST", url, f"/{status}", TOKEN, {})
    assert not isinstance(caught.value, ControlPlaneRefused)
    with pytest.raises(ControlPlaneUnreachable, match="answered 500: no reason given"):
        ask("POST", url, "/500", TOKEN, ["not an object"])


def test_a_server_that_is_no_control_plane_is_recognised() -> None:
    class PageHandler(AdminApiHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

    server = ThreadingHTTPServer(("127.0.0.1", 0), PageHandler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with server, pytest.raises(ControlPlaneUnreachable, match="without JSON, so it is no control plane: check --url"):
        ask("GET", f"http://127.0.0.1:{server.server_port}", "/v1/status", TOKEN)
    thread.join()


def test_errors_say_what_to_do_and_show_no_token() -> None:
    with served() as url:
        pass
    with pytest.raises(
        ControlPlaneUnreachable, match=r"no control plane answers at .* Is `yurt serve` running"
    ) as closed:
        ask("GET", url, "/v1/status", TOKEN)
    with pytest.raises(ControlPlaneUnreachable, match="is no URL: set --url or YURT_URL") as malformed:
        ask("GET", "http://127.0.0.1:port", "/v1/status", TOKEN)
    assert TOKEN not in f"{closed.value} {malformed.value}"


def test_the_admin_token_is_not_sent_in_clear_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ControlPlaneUnreachable, match="YURT_ALLOW_HTTP=1"):
        ask("GET", "http://yurt.invalid", "/v1/status", TOKEN)
    monkeypatch.setenv("YURT_ALLOW_HTTP", "1")
    with pytest.raises(ControlPlaneUnreachable, match="no control plane answers"):
        ask("GET", "http://yurt.invalid", "/v1/status", TOKEN)


def test_call_ends_the_program_with_the_message(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call("POST", url, "/403", TOKEN, {"message": "the admin token is wrong"})
    assert ended.value.code == 1
    assert capsys.readouterr().err == "yurt: the control plane answered 403: the admin token is wrong\n"

"""Calls of apps: what is repeated and for how long, what a refusal says, and that no secret is shown."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any

import pytest

from tests.yurt.answering import answering
from yurt import KeyTaken, NotReachable, ObjectUnknown, Refused
from yurt.blocking_transport import BlockingTransport, run_blocking
from yurt.http_api import HttpApi, PlaneAccess, RetryPauses


@dataclass(frozen=True, slots=True)
class Greeting:
    """An answer."""

    hello: str


def ask(url: str, retry_seconds: float = 30.0) -> Greeting:
    """Send one call."""
    transport = BlockingTransport()
    try:
        api = HttpApi(transport, PlaneAccess(url, "yurt_app_secret", retry_seconds))
        return run_blocking(api.ask(Greeting, "GET", "/x", query={"a": "b&c"}))
    finally:
        run_blocking(transport.close())


def test_a_server_that_asks_to_wait_is_waited_for() -> None:
    with answering((503, b"", ("retry-after", "1")), (429, b""), (200, b'{"hello": "a", "more": 1}')) as (
        url,
        received,
    ):
        assert ask(url) == Greeting("a")
        assert len(received) == 3
    with answering((503, b"{}", ("retry-after", "20"))) as (url, received):
        with pytest.raises(NotReachable, match="answered 503: no reason given"):
            ask(url, retry_seconds=19)
        assert len(received) == 1, "a wait that is longer than is allowed is no wait"


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (404, {"error": "unknown-object", "message": "none."}, ObjectUnknown, "The control plane answered 404: none."),
        (409, {"error": "key-taken", "message": "it stays"}, KeyTaken, "The control plane answered 409: it stays."),
        (403, {"error": "scope-missing", "message": "no"}, Refused, "The control plane answered 403: no."),
        (302, {}, Refused, "The control plane answered 302: no reason given."),
        (403, ["x"], Refused, "The control plane answered 403: no reason given."),
        (200, {"hello": 1}, NotReachable, "cannot be understood: hello is of another type"),
        (200, {}, NotReachable, "cannot be understood: hello is missing"),
    ],
)
def test_refusals_are_told_in_their_own_words(status: int, body: Any, error: type[Exception], message: str) -> None:
    with answering((status, json.dumps(body).encode())) as (url, received):
        with pytest.raises(error, match=message) as raised:
            ask(url)
        assert type(raised.value) is error
        assert "secret" not in repr(raised.value)
        assert len(received) == 1


def test_an_answer_without_an_end_is_not_read() -> None:
    refused = pytest.raises(NotReachable, match="The control plane answers more bytes than are allowed")
    with answering((200, b" " * (33 << 20))) as (url, _), refused:
        ask(url)


def test_who_is_not_there_is_tried_for_so_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(NotReachable, match=r"No answer from the control plane: ConnectError\. Is YURT_URL right"):
        ask(url, retry_seconds=0.4)


def test_pauses_double_and_end() -> None:
    pauses = RetryPauses(30)
    taken = [pause for pause in (pauses.next() for _ in range(20)) if pause is not None]
    assert 15 <= sum(taken) <= 30
    assert all(0.25 * 2**number <= pause <= 0.5 * 2**number for number, pause in enumerate(taken))
    pauses.begin()
    assert pauses.next(5) == 5
    assert RetryPauses(1_000).next(600) == 30, "no server makes an app wait for long"
    assert RetryPauses(0).next() is None


@pytest.mark.parametrize(
    "url", ["", "yurt.example.com", "ftp://x", "http://", "http://[::1", "http://a:b", "http://a:0"]
)
def test_what_is_no_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YURT_URL", raising=False)
    with pytest.raises(NotReachable, match="Set YURT_URL to the control plane's URL"):
        PlaneAccess.of(url, "token", "read:NAME")


def test_no_token_is_sent_in_clear_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YURT_ALLOW_HTTP", raising=False)
    for own in ("http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost", "http://yurt.localhost"):
        assert PlaneAccess.of(own, "token", "x").url == own
    for other in ("http://yurt.example.com", "http://10.0.0.7:8080"):
        with pytest.raises(NotReachable, match="YURT_ALLOW_HTTP=1"):
            PlaneAccess.of(other, "token", "x")
    monkeypatch.setenv("YURT_ALLOW_HTTP", "1")
    assert PlaneAccess.of("http://10.0.0.7:8080", "token", "x")


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("YURT_URL", "YURT_TOKEN", "YURT_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NotReachable, match=r"Set YURT_TOKEN to a token of the scope read:NAME \(yurt tokens create\)"):
        PlaneAccess.of("https://a", "", "read:NAME")
    monkeypatch.setenv("YURT_URL", "https://yurt.example.com/")
    monkeypatch.setenv("YURT_ADMIN_TOKEN", "of-the-admin")
    assert PlaneAccess.of("", "", "x") == PlaneAccess("https://yurt.example.com", "of-the-admin")
    monkeypatch.setenv("YURT_TOKEN", "of-the-app")
    access = PlaneAccess.of("", "", "x")
    assert access.token == "of-the-app"
    assert "of-the-app" not in repr(access)
    for wrong in ("a\nb", "é"):
        with pytest.raises(NotReachable, match="copy it again") as refused:
            PlaneAccess.of("https://a", wrong, "x")
        assert wrong not in str(refused.value)

"""Why a request had no response, as the exceptions of httpx and of botocore tell it, and what goes past a proxy."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config

from tests.tls_server import TlsServer
from workers.outgoing import PAST_PROXIES, proxy_for, sends_in_clear, why_unreachable


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("http://yurt.example", True),
        ("HTTP://10.0.0.1:8080", True),
        ("http://localhost.example", True),
        ("http://127.0.0.1.example", True),
        ("http://[2001:db8::1]/", True),
        ("https://yurt.example", False),
        ("http://127.8.9.1:8080", False),
        ("http://[::1]:8080", False),
        ("http://localhost:8080/yurt", False),
        ("http://up.localhost.", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_which_urls_are_read_on_the_way(url: str, clear: bool) -> None:
    assert sends_in_clear(url) is clear


def by_httpx(url: str) -> BaseException:
    with pytest.raises(httpx.TransportError) as raised, httpx.Client(mounts=PAST_PROXIES, timeout=5) as http:
        http.get(url)
    return raised.value


def by_botocore(url: str) -> BaseException:
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="auto",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}),
    )
    with pytest.raises(Exception, match=r".") as raised:
        client.list_buckets()
    return raised.value


@pytest.mark.parametrize("call", [by_httpx, by_botocore])
def test_why_there_was_no_response(call: Callable[[str], BaseException], tmp_path: Path) -> None:
    with TlsServer(tmp_path) as server, socket.create_server(("127.0.0.1", 0)) as closed:
        closed_port = closed.getsockname()[1]
        closed.close()
        reasons = {
            "is not trusted (self-signed certificate in certificate chain). If a private": f"{server.url}/hidden",
            "set SSL_CERT_FILE": server.url,
            "does not resolve": "http://nowhere.invalid",
            "is refused": f"http://127.0.0.1:{closed_port}",
            "does not speak TLS": f"https://127.0.0.1:{server.plain_port}",
        }
        for reason, url in reasons.items():
            told = why_unreachable(call(url))
            assert reason in told
            assert "hidden" not in told


def test_any_other_error_is_named_by_its_kind() -> None:
    assert why_unreachable(httpx.ReadTimeout("https://host/?hidden")) == "ReadTimeout"
    looped = OSError("hidden")
    looped.__context__ = ValueError(looped)
    assert why_unreachable(looped) == "OSError"
    assert why_unreachable(ExceptionGroup("hidden", [OSError(), ConnectionRefusedError()])).startswith("the connection")
    assert why_unreachable(ssl.SSLError(1, "hidden")) == "there is no TLS connection (no reason given)"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "s3.localhost"])
def test_this_machine_is_never_reached_through_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(httpx.ConnectError) as direct, httpx.Client(mounts=PAST_PROXIES) as http:
        http.get(f"http://{host}:1/")
    assert "is refused" in why_unreachable(direct.value) or host == "s3.localhost"
    with pytest.raises(httpx.ConnectError) as proxied, httpx.Client(mounts=PAST_PROXIES) as http:
        http.get("http://store.example.com/")
    assert "does not resolve" in why_unreachable(proxied.value)


def test_the_proxy_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:1")
    monkeypatch.setenv("https_proxy", "http://proxy:2")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for("http://store.example/x") == "http://proxy:1"
    assert proxy_for("https://store.example/x") == "http://proxy:2"
    for past in ("127.0.0.1", "localhost:9000", "bucket.localhost", "[::1]:9000", "inside.example"):
        assert proxy_for(f"http://{past}/x") == ""
    monkeypatch.delenv("https_proxy")
    assert proxy_for("https://store.example/x") == ""
    monkeypatch.setenv("all_proxy", "http://proxy:3")
    assert proxy_for("https://store.example/x") == "http://proxy:3"

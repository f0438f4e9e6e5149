"""Connections for ranges: TLS with a private authority, proxies, hosts that are not there."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.tls_server import TlsServer
from tests.workers.models.published import PART, content, published
from tests.workers.models.range_server import RangeHandler, RangeStore, serving
from workers import tls
from workers.models.cache import ModelCache
from workers.models.connection import StoreConnection, StoreRefusal


@pytest.fixture(autouse=True)
def _fresh_context() -> None:
    tls.context.cache_clear()


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_over_tls_by_the_authorities_that_workers_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(RangeStore()) as store, TlsServer(tmp_path, _port(store.url)) as server:
        store.url = server.url
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
        model, cache = published(store, {"model.onnx": content(9 * PART)}), ModelCache(tmp_path / "cache")
        model.fetch(cache).run()
        assert model.is_in(cache)
    tls.context.cache_clear()


def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    with TlsServer(tmp_path) as server, pytest.raises(StoreRefusal, match=r"is not trusted.*SSL_CERT_FILE") as raised:
        StoreConnection(5).get(f"{server.url}/x?sig=secret", {})
    assert "secret" not in str(raised.value)


def test_requests_to_other_machines_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(RangeStore()) as proxy, closing(StoreConnection(5)) as connection:
        proxy.put("x", b"x")
        monkeypatch.setenv("http_proxy", proxy.url)
        connection.get("http://store.example/models/x?sig=1", {}).read()
        # This one is no proxy, but sees what one would.
        assert [path for path, _ in proxy.requests] == ["http://store.example/models/x"]
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert connection.get(proxy.link("x"), {}).read() == b"x"


def test_tls_goes_through_a_tunnel_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        received: list[bytes] = []

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(4_096))
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=accept)
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://user:word%40@127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(StoreRefusal) as raised:
            StoreConnection(5).get("https://store.example/x?sig=secret", {})
        thread.join()
        assert received[0].startswith(b"CONNECT store.example:443 ")
        assert b"Proxy-Authorization: Basic dXNlcjp3b3JkQA==" in received[0]
        assert raised.value.transient
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["ftp://store/x", "http:///x", "http://store:port/x", "http://st ore/x"])
def test_what_is_no_url_is_refused_for_good(url: str) -> None:
    with pytest.raises(StoreRefusal) as raised:
        StoreConnection(5).get(url, {})
    assert not raised.value.transient


def test_a_header_that_cannot_be_sent_is_refused() -> None:
    with serving(RangeStore()) as store, pytest.raises(StoreRefusal) as raised:
        StoreConnection(5).get(store.link("x"), {"x": "a\r\nb: c"})
    assert not raised.value.transient


def test_nothing_listens_there() -> None:
    with pytest.raises(StoreRefusal, match="nothing listens there"):
        StoreConnection(5).get("http://127.0.0.1:1/x", {})


def test_a_proxy_of_plain_requests_is_given_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str | None] = []

    def answer(handler: RangeHandler) -> None:
        given.append(handler.headers.get("Proxy-Authorization"))
        handler.serve()

    with serving(RangeStore(always=answer)) as proxy, closing(StoreConnection(5)) as connection:
        proxy.put("http://store.example/x", b"x" * 9)
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//user:word@"))
        assert connection.get("http://store.example/x?sig=1", {"Range": "bytes=0-8"}).read() == b"x" * 9
    assert given == ["Basic dXNlcjp3b3Jk"]

"""`yurt check` transfers as workers do: signed host, path style, certificates, proxies."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request

from tests.infra.local.running import RunningBucket as LocalStore
from tests.infra.local.running import running
from tests.tls_server import TlsServer
from tests.webhook.buckets import BucketPair
from tests.webhook.gateway import gateway
from webhook.config import Place
from webhook.storage import ObjectStore, StoreError
from webhook.storage.presign import SigningKeys
from webhook.transfer_check import TransferFailed, lacks_bucket_host, try_transfer
from workers import tls

KEYS = SigningKeys("tid_test", "tsec_test")


async def test_what_is_tried_is_deleted(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    client = ObjectStore(store.endpoint, "auto", KEYS)
    await try_transfer(client, Place(bucket=buckets.outputs, prefix="results/"))
    assert not buckets.keys()
    with pytest.raises(TransferFailed):
        await try_transfer(client, Place(bucket="no-such-bucket"))
    await client.aclose()


async def test_a_store_that_refuses_presigned_requests_alone_is_found_out(store: LocalStore) -> None:
    buckets = BucketPair.made(store)

    async def refuse(request: Request) -> None:
        if "X-Amz-Signature" in request.query_params:
            request.scope["raw_path"] = b"/no-such-bucket/key"

    async with gateway("plain", store.endpoint) as faulty:
        faulty.before = refuse
        client = ObjectStore(faulty.endpoint, "auto", KEYS)
        with pytest.raises(TransferFailed, match="by a presigned URL, as workers have them: "):
            await try_transfer(client, Place(bucket=buckets.outputs))
        await client.aclose()


@pytest.fixture
def store_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name ``store.test`` is this machine's; no other name resolves."""
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name == "store.test":
            return real("127.0.0.1", *args, **options)
        if name == "127.0.0.1":
            return real(host, *args, **options)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.usefixtures("store_test")
async def test_a_store_without_a_name_for_each_bucket() -> None:
    # On another address than loopback, where the local bucket takes every Host.
    with running("--listen", "0.0.0.0") as listening:
        store = replace(listening, endpoint=listening.endpoint.replace("0.0.0.0", "127.0.0.1"))
        buckets = BucketPair.made(store)
        endpoint = f"http://store.test:{urlsplit(store.endpoint).port}"
        by_path = ObjectStore(endpoint, "auto", KEYS)
        await try_transfer(by_path, Place(bucket=buckets.outputs))
        assert not await lacks_bucket_host(by_path, buckets.outputs)
        by_host = ObjectStore(endpoint, "auto", KEYS, addressing="virtual", attempts=1)
        with pytest.raises(StoreError, match="does not resolve"):
            await by_host.check_bucket(buckets.outputs)
        assert await lacks_bucket_host(by_host, buckets.outputs)
        nowhere = ObjectStore("http://nowhere.test", "auto", KEYS, addressing="virtual")
        assert not await lacks_bucket_host(nowhere, buckets.outputs)
        for client in (by_path, by_host, nowhere):
            await client.aclose()


async def test_one_variable_has_both_sides_trust_a_private_authority(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets = BucketPair.made(store)
    place = Place(bucket=buckets.outputs)
    with TlsServer(tmp_path, urlsplit(store.endpoint).port or 0) as server:
        for name in ("AWS_CA_BUNDLE", "AWS_UNRELATED"):
            monkeypatch.setenv(name, str(server.authority))
            tls.context.cache_clear()
            client = ObjectStore(server.url, "auto", KEYS, attempts=1)
            with pytest.raises(TransferFailed, match=r"its certificate is not trusted .* set SSL_CERT_FILE"):
                await try_transfer(client, place)
            await client.aclose()
            monkeypatch.delenv(name)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
        tls.context.cache_clear()
        client = ObjectStore(server.url, "auto", KEYS, attempts=1)
        await try_transfer(client, place)
        await client.aclose()
        tls.context.cache_clear()


async def test_a_store_on_this_machine_is_reached_past_a_proxy(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets = BucketPair.made(store)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = ObjectStore(store.endpoint, "auto", KEYS, attempts=1)
    await try_transfer(client, Place(bucket=buckets.outputs))
    await client.aclose()

"""Tries a presigned PUT and GET, with the client that workers use: keys that are right do not show that these work.

The control plane and workers differ in who signs, which Host is sent, which certificates are trusted, and what goes
through a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import secrets
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from webhook.config import Place
from webhook.outputs.keys import new_control_key
from webhook.storage import ObjectStore, StoreError
from workers.protocol import Download, Expected, Upload
from workers.retry import Backoff
from workers.transfer import StoreFault, TransferClient, TransferLimits

_SECONDS = 60
"""Validity of the URLs."""
_LIMITS = TransferLimits(total_seconds=20.0, stall_seconds=10.0, backoff=Backoff(attempts=2))


class TransferFailed(Exception):
    """A worker could not transfer an object. The message says what was tried and what came of it."""


async def try_transfer(store: ObjectStore, place: Place) -> None:
    """Put a small object by a presigned URL, get it back, compare, and delete it. Raises TransferFailed, StoreError."""
    key = new_control_key(place, "check")
    try:
        await _put_and_get(store, place.bucket, key)
    except TransferFailed:
        with contextlib.suppress(StoreError):  # the PUT's own failure says more
            await store.delete(place.bucket, key, "")
        raise
    await store.delete(place.bucket, key, "")


async def _put_and_get(store: ObjectStore, bucket: str, key: str) -> None:
    content = f"yurt check {secrets.token_hex(8)}\n".encode()
    headers = {"content-type": "text/plain", "x-amz-meta-yurt-check": "1"}
    put = store.put_presigner.url(
        "PUT", bucket, key, expires_seconds=_SECONDS, headers={**headers, "content-length": str(len(content))}
    )
    get = store.presigner.url("GET", bucket, key, expires_seconds=_SECONDS)
    client = TransferClient(_LIMITS)
    try:
        with tempfile.TemporaryDirectory(prefix="yurt-check-") as folder:
            received = Path(folder, "received")
            upload = Upload(name="check", url=put, headers=headers)
            await client.upload(upload, io.BytesIO(content), size_bytes=len(content))
            await client.download(
                Download(url=get, headers={}), Expected(believed=True), received, limit_bytes=len(content)
            )
            if await asyncio.to_thread(_content_of, received) != content:
                raise TransferFailed("a presigned GET answered with something else than the presigned PUT wrote")
    except StoreFault as error:
        raise TransferFailed(f"by a presigned URL, as workers have them: {error.message}") from None
    finally:
        await client.aclose()


def _content_of(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


async def lacks_bucket_host(store: ObjectStore, bucket: str) -> bool:
    """Whether a bucket's host does not resolve although the endpoint's own does: then it takes path style."""
    origin, _ = store.presigner.address(bucket, "")
    host, endpoint = urlsplit(origin).hostname or "", urlsplit(store.presigner.endpoint).hostname or ""
    return host != endpoint and not await _resolves(host) and await _resolves(endpoint)


async def _resolves(host: str) -> bool:
    try:
        await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return True

"""Fetches one part of a model by a ranged GET, straight into its place in the file, with its SHA-256 on the way."""

from __future__ import annotations

import hashlib
import http.client
import os
from collections.abc import Callable

from workers.headers import plain_etag
from workers.models.connection import StoreConnection, StoreRefusal, refusal, unreachable
from workers.models.errors import ModelChanged
from workers.models.plan import PlannedPart
from workers.protocol import Download, ModelSource


def fetch_part(
    connection: StoreConnection,
    source: ModelSource,
    part: PlannedPart,
    file: int,
    buffer: memoryview,
    received: Callable[[int], None],
) -> str:
    """Write a part into the open ``file``, and return the SHA-256 of what was written.

    ``received`` is called with each number of bytes; an exception of it ends the request.

    Raises:
        StoreRefusal: transient, or 403 (another URL may help), or for good.
        ModelChanged: the object is another than the one with the ETag.
        OSError: the disk.
    """
    response = connection.get(source.download.url, _headers(source, part))
    try:
        _check(response, source, part)
        digest = _receive(response, part, file, buffer, received)
    except BaseException:
        connection.close()
        raise
    if not response.isclosed():  # of unknown length: what follows the range would be taken for the next answer
        connection.close()
    return digest


def fetch_small(connection: StoreConnection, download: Download, most_bytes: int) -> bytes:
    """Return a whole small object. Raises `StoreRefusal`."""
    response = connection.get(download.url, download.headers)
    try:
        if response.status != 200:
            raise refusal(response, "the request for the manifest")
        content = response.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise StoreRefusal(f"the manifest has more than {most_bytes} bytes", transient=False)
        return content
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(error) from None
    finally:
        connection.close()


def _headers(source: ModelSource, part: PlannedPart) -> dict[str, str]:
    headers = {"Range": f"bytes={part.offset}-{part.offset + part.size - 1}"}
    if source.etag is not None:
        headers["If-Match"] = f'"{source.etag}"'
    return headers | source.download.headers


def _check(response: http.client.HTTPResponse, source: ModelSource, part: PlannedPart) -> None:
    if response.status == 412:
        raise ModelChanged(source.path)
    whole = response.status == 200 and part.size == source.size
    if response.status == 200 and not whole:
        raise StoreRefusal(
            "the store answered a range with the whole file: does a proxy in between take the Range header away?",
            transient=False,
        )
    if response.status not in (200, 206):
        raise refusal(response, "a range")
    if not whole and response.getheader("Content-Range", "") != _content_range(source, part):
        raise StoreRefusal("the store answered with another range than was asked for", transient=True)
    if response.length is not None and response.length != part.size:
        raise StoreRefusal("the store answered with a body of another length than the range", transient=True)
    # A store that does not know If-Match still says what it gives.
    if source.etag is not None and plain_etag(response.getheader("ETag")) not in (None, source.etag):
        raise ModelChanged(source.path)


def _content_range(source: ModelSource, part: PlannedPart) -> str:
    return f"bytes {part.offset}-{part.offset + part.size - 1}/{source.size}"


def _receive(
    response: http.client.HTTPResponse,
    part: PlannedPart,
    file: int,
    buffer: memoryview,
    received: Callable[[int], None],
) -> str:
    digest, done = hashlib.sha256(), 0
    while done < part.size:
        chunk = buffer[: _read(response, buffer[: part.size - done])]
        if not chunk:
            raise StoreRefusal("the store ended a range early", transient=True)
        received(len(chunk))
        _write(file, chunk, part.offset + done)
        digest.update(chunk)
        done += len(chunk)
    return digest.hexdigest()


def _read(response: http.client.HTTPResponse, buffer: memoryview) -> int:
    try:
        return response.readinto(buffer)
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: TLS that another thread has ended
        if isinstance(error, ValueError):
            raise StoreRefusal("the connection was closed", transient=True) from None
        raise unreachable(error) from None


def _write(file: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(file, data, offset)
        data, offset = data[count:], offset + count

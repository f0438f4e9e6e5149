"""Reads files of results: into memory, or onto the disk. The protocol, without a way to block."""

from __future__ import annotations

import os
import secrets
from functools import partial
from pathlib import Path
from typing import BinaryIO

from yurt.client.objects import output
from yurt.errors import YurtError
from yurt.http_api import HttpApi
from yurt.transport import AnswerTooLong, HttpAnswer, StreamedAnswer, read_whole

READ_BYTES = 64 << 20
"""Largest output that is read into memory, unless the app allows more."""
DOWNLOAD_BYTES = 5 << 30
"""Largest output that is downloaded, unless the app allows more."""


async def read_output(api: HttpApi, pipeline: str, key: str, name: str, max_bytes: int) -> bytes:
    """Read one file of an object's result."""
    found = await output(api, pipeline, key, name)
    _check_size(name, found.size, max_bytes)
    return await api.get(found.url, {}, max_bytes)


async def download_output(
    api: HttpApi, pipeline: str, key: str, name: str, path: str | os.PathLike[str], max_bytes: int
) -> Path:
    """Download one file of an object's result. It is there whole, or not at all."""
    found = await output(api, pipeline, key, name)
    _check_size(name, found.size, max_bytes)
    target = Path(path)
    beside = target.with_name(f".{secrets.token_hex(8)}.part")
    file = await api.transport.on_disk(lambda: beside.open("xb"))
    try:
        try:
            await api.receive(found.url, {}, partial(_save, api, file, max_bytes))
        finally:
            await api.transport.on_disk(file.close)
        await api.transport.on_disk(partial(beside.replace, target))
    except BaseException:
        await api.transport.on_disk(partial(beside.unlink, missing_ok=True))
        raise
    return target


async def _save(api: HttpApi, file: BinaryIO, max_bytes: int, answer: StreamedAnswer) -> HttpAnswer:
    """Write an answer to a file, from its beginning. What a refusal says is read in its place."""
    if not answer.ok:
        return await read_whole(answer)
    await api.transport.on_disk(partial(_empty, file))
    size = 0
    async for chunk in answer.chunks:
        size += len(chunk)
        if size > max_bytes:
            raise AnswerTooLong
        await api.transport.on_disk(partial(file.write, chunk))
    return HttpAnswer(answer.status, answer.headers, b"")


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _check_size(name: str, size: int | None, max_bytes: int) -> None:
    if size is not None and size > max_bytes:
        raise YurtError(f"{name} has {size:,} bytes, more than max_bytes={max_bytes:,}: allow more.")

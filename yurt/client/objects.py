"""Reads objects and their results, waits for them, and orders tickets: the protocol, without a way to block."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from yurt.client.answers import ObjectInfo, OutputInfo, UploadTicket
from yurt.errors import ObjectUnknown, OutputMissing, WaitTimeout
from yurt.http_api import HttpApi
from yurt.transport import READ_SECONDS

LONGEST_WAIT_SECONDS = 60.0
"""That the control plane holds one request."""
_WAIT_SECONDS = 25.0
"""Of one request of a longer wait: many proxies cut a silent connection after 30 s."""
_SHORTEST_WAIT_SECONDS = 1.0
_PAGE = 100
"""Objects. Each may have 64 files, with long URLs."""


@dataclass(frozen=True, slots=True)
class _Page:
    objects: tuple[ObjectInfo, ...]
    next: str | None


async def ticket(
    api: HttpApi,
    pipeline: str,
    prefix: str,
    content_types: Sequence[str],
    max_bytes: int | None,
    uploads: int,
    valid_seconds: float,
) -> UploadTicket:
    """Order a ticket."""
    if isinstance(content_types, str):
        raise TypeError(f"content_types is one text: write content_types=[{content_types!r}]")
    order = {
        "pipeline": pipeline,
        "prefix": prefix,
        "content_types": list(content_types),
        "max_bytes": max_bytes,
        "uploads": uploads,
        "valid_seconds": valid_seconds,
    }
    return await api.ask(UploadTicket, "POST", "/v1/tickets", order)


async def read_object(api: HttpApi, pipeline: str, key: str, wait_seconds: float) -> ObjectInfo:
    """Read one object, held until it is settled for so many seconds."""
    if not 0 <= wait_seconds <= LONGEST_WAIT_SECONDS:
        raise ValueError(f"wait_seconds is {wait_seconds:g}: at most {LONGEST_WAIT_SECONDS:g}. For longer, use wait()")
    path = f"{_path(pipeline)}/{quote_key(key)}"
    query = {"wait": f"{wait_seconds:.3f}"} if wait_seconds else None
    return await api.ask(ObjectInfo, "GET", path, query=query, read_seconds=READ_SECONDS + wait_seconds)


async def wait(api: HttpApi, pipeline: str, key: str, timeout_seconds: float) -> ObjectInfo:
    """Wait until an object is settled."""
    if not (timeout_seconds > 0 and math.isfinite(timeout_seconds)):
        raise ValueError(f"timeout_seconds is {timeout_seconds:g}: it has to be more than 0, and to end")
    ends_at = time.monotonic() + timeout_seconds
    state = "no answer came"
    while (left := ends_at - time.monotonic()) > 0:
        asked_at = time.monotonic()
        try:
            found = await read_object(api, pipeline, key, min(_WAIT_SECONDS, left))
        except ObjectUnknown:
            state = "no event of it has come yet: does the bucket notify your control plane?"
        else:
            if found.outcome is not None:
                return found
            state = f"it is {found.progress.phase if found.progress else found.state}"
        # A replica that leaves answers at once.
        early = _SHORTEST_WAIT_SECONDS - (time.monotonic() - asked_at)
        await api.transport.pause(max(0.0, min(early, ends_at - time.monotonic())))
    raise WaitTimeout(f"{key} of {pipeline} was not settled within {timeout_seconds:g} s: {state}.")


async def read_objects(api: HttpApi, pipeline: str, prefix: str) -> AsyncIterator[ObjectInfo]:
    """Read all objects below a prefix, page by page."""
    cursor: str | None = ""
    while cursor is not None:
        query = {"prefix": prefix, "cursor": cursor, "limit": _PAGE}
        page = await api.ask(_Page, "GET", _path(pipeline), query=query)
        for each in page.objects:
            yield each
        cursor = page.next


async def delete(api: HttpApi, pipeline: str, key: str) -> None:
    """Delete an object from the input."""
    await api.call("DELETE", f"{_path(pipeline)}/{quote_key(key)}")


async def output(api: HttpApi, pipeline: str, key: str, name: str) -> OutputInfo:
    """Find one file of an object's result."""
    found = await read_object(api, pipeline, key, 0)
    if found.result is None:
        raise OutputMissing(f"{key} of {pipeline} has no result: it is {found.state}. Use wait() first.")
    return found.result.file(name)


def _path(pipeline: str) -> str:
    return f"/v1/objects/{quote(pipeline, safe='')}"


def quote_key(key: str) -> str:
    """Percent-encode a key for a path. HTTP clients take dots out of paths that are segments of their own."""
    segments = (quote(segment, safe="") for segment in key.split("/"))
    return "/".join(segment.replace(".", "%2E") if segment in (".", "..") else segment for segment in segments)

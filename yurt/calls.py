"""Runs calls of a function on workers: arguments into the bucket, one event each, values out of the bucket."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from yurt import arguments
from yurt.control_plane import ControlPlane
from yurt.errors import CallTimeout, RemoteError

MAX_CALLS = 1_000
"""Of one ``map``."""
_BATCH = 100
"""Calls that one request to the control plane names."""
_WAIT_SECONDS = 20.0
_IN_MEMORY_BYTES = 1 << 20
"""Arguments that are longer wait on the disk until they are sent."""
_CHUNK_BYTES = 1 << 20

Call = tuple[Sequence[object], Mapping[str, object]]
"""Positional and named arguments."""


@dataclass(frozen=True, slots=True)
class _EncodedCall:
    id: str
    content: BinaryIO
    size: int

    def chunks(self) -> Iterator[bytes]:
        """The bytes, from their beginning."""
        self.content.seek(0)
        while chunk := self.content.read(_CHUNK_BYTES):
            yield chunk


def run_all(
    function: str,
    calls: Sequence[Call],
    *,
    key: str = "",
    wait_seconds: float | None = None,
    plane: ControlPlane | None = None,
) -> list[Any]:
    """Run calls of one function at the same time, and return their values in order.

    With a ``key``, a call's number is made of it, its place and its arguments: one that was made before is not run
    again. ``plane`` is closed afterwards, and by default the one of the environment.

    Raises RemoteError, NotReachable, CallTimeout, TypeError, ValueError.
    """
    if len(calls) > MAX_CALLS:
        raise ValueError(f"{len(calls):,} calls: at most {MAX_CALLS:,} at once. Make several maps of them")
    if not calls:
        return []
    until = None if wait_seconds is None else time.monotonic() + wait_seconds
    with plane or ControlPlane() as asked:
        ids = [_begin(asked, function, batch) for batch in _batches(_encoded(calls, key))]
        ended: dict[str, dict[str, Any]] = {}
        for batch in ids:
            ended |= _ended(asked, function, batch, until)
        outcomes = [ended[id] for batch in ids for id in batch]
        for outcome in outcomes:
            if error := outcome["error"]:
                raise RemoteError(function, error["reason"], error["message"], error["log"])
        return [_value(asked, outcome["value"]) for outcome in outcomes]


def _encoded(calls: Iterable[Call], key: str) -> Iterator[_EncodedCall]:
    for place, (args, kwargs) in enumerate(calls):
        content = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115  closed once it was sent
        arguments.encode(content, args, kwargs)  # type: ignore[arg-type]
        size = content.tell()
        if size > arguments.MAX_BYTES:
            raise ValueError(f"the arguments have {size:,} bytes: at most {arguments.MAX_BYTES:,}")
        encoded = _EncodedCall(secrets.token_hex(16), content, size)  # type: ignore[arg-type]
        yield _EncodedCall(_named(key, place, encoded), encoded.content, size) if key else encoded


def _named(key: str, place: int, call: _EncodedCall) -> str:
    digest = hashlib.sha256(json.dumps([key, place]).encode())
    for chunk in call.chunks():
        digest.update(chunk)
    return digest.hexdigest()[:32]


def _begin(plane: ControlPlane, function: str, batch: Sequence[_EncodedCall]) -> list[str]:
    """Put the arguments of some calls into the bucket, and have them run."""
    path = f"/v1/functions/{function}/calls"
    offered = plane.post(path, {"calls": [{"id": call.id, "bytes": call.size} for call in batch]})["calls"]
    begun = []
    for call, offer in zip(batch, offered, strict=True):
        if (upload := offer["upload"]) is not None:  # else it was made before, with the same key
            plane.upload(upload["url"], upload["headers"], call.chunks, call.size)
            begun.append(call.id)
        call.content.close()
    if begun:
        plane.post(f"{path}/begin", {"ids": begun})
    return [call.id for call in batch]


def _ended(plane: ControlPlane, function: str, ids: Sequence[str], until: float | None) -> dict[str, dict[str, Any]]:
    """Wait until all of these calls have ended."""
    ended: dict[str, dict[str, Any]] = {}
    while left := [id for id in ids if id not in ended]:
        wait = _WAIT_SECONDS if until is None else min(_WAIT_SECONDS, until - time.monotonic())
        if wait <= 0:
            raise CallTimeout(f"{len(left)} of {len(ids)} calls of {function} have not ended in time: they go on.")
        answer = plane.post(f"/v1/functions/{function}/calls/wait", {"ids": left, "wait": wait})
        ended |= {call["id"]: call for call in answer["calls"] if call["state"] != "running"}
    return ended


def _value(plane: ControlPlane, download: Mapping[str, Any]) -> Any:
    return json.loads(plane.download(download["url"], download["headers"]))


def _batches(calls: Iterator[_EncodedCall]) -> Iterator[list[_EncodedCall]]:
    while batch := list(itertools.islice(calls, _BATCH)):
        yield batch

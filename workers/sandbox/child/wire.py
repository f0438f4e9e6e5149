"""What agent and child say to each other: JSON with its length before it (4 bytes, big-endian)."""

from __future__ import annotations

import json
import struct
from typing import BinaryIO, Literal, TypedDict

from pydantic import JsonValue

MAX_FRAME_BYTES = 1 << 20
"""A request carries a key and options, a reply names and labels: no file content."""
HEADER = struct.Struct(">I")


class Request(TypedDict):
    """One job. Paths are the agent's."""

    number: int
    kind: str
    options: dict[str, JsonValue]
    cpu_seconds: float
    memory_bytes: int
    output_bytes: int
    input: str
    output: str
    key: str
    etag: str


class OutputFile(TypedDict):
    """One file in the job's output folder, as the handler names it."""

    name: str
    content_type: str
    cache_control: str


class Done(TypedDict):
    """What the handler made. Nothing here has been checked yet."""

    outcome: Literal["done"]
    outputs: list[OutputFile]
    labels: dict[str, JsonValue]


class Failed(TypedDict):
    """The handler refused the input or broke."""

    outcome: Literal["failed"]
    reason: str
    message: str
    retry: bool
    clean: bool
    """Whether the handler meant it, so that the child can go on."""


class Fault(TypedDict):
    """The machine is to blame, not the object."""

    outcome: Literal["fault"]
    message: str


class State(TypedDict):
    """The child itself, after a job and before its first."""

    resident_bytes: int
    strays: bool
    """Whether processes that the handler started are still running."""


class Reply(TypedDict):
    """The answer to one request."""

    verdict: Done | Failed | Fault
    state: State


def encode(message: Request | Reply | State) -> bytes:
    """Return the frame. Raises ``ValueError`` when the message is too long or is not JSON."""
    body = json.dumps(message, allow_nan=False).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body):,} bytes: at most {MAX_FRAME_BYTES:,} pass between agent and child")
    return HEADER.pack(len(body)) + body


def read(stream: BinaryIO) -> Request | None:
    """Wait for the next request; None when the agent has closed the pipe."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    body = stream.read(size)
    if len(body) < size:
        return None
    request: Request = json.loads(body)
    return request


def end_of_log(number: int) -> bytes:
    """Mark on the error stream after which nothing of this job's output comes: pipes keep no order between
    them.
    """
    return b"\0end of job %d\0" % number

"""The messages between the agent and its children, defined once for both sides, and their framing.

A frame is JSON in UTF-8 with its length before it (4 bytes, big-endian). The child only fills in these dataclasses; the
agent, which believes nothing that comes out of a child, validates them with pydantic (``workers.sandbox.replies``),
strictly and by the constraints given here.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from dataclasses import dataclass
from typing import Annotated, BinaryIO, ClassVar, Literal

from pydantic import ConfigDict, Field, JsonValue

MAX_FRAME_BYTES = 1 << 20
"""A request carries a key and options, a reply names and labels: no file content."""
MAX_MESSAGE_LENGTH = 4_000
"""Characters of a failure's message."""
MAX_PROCESSES = 128
"""Of one job at once. Threads do not count: their memory does."""
MAX_FILES = 10_000
"""Files and folders in the job's folders."""
HEADER = struct.Struct(">I")


@dataclass(frozen=True)
class SandboxMessage:
    """Base of the messages: pydantic refuses unknown fields and converts nothing."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)


# ── from the agent ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class JailRules(SandboxMessage):
    """What the pipeline says of the jail: see `workers.protocol.SandboxRules`."""

    mode: Literal["on", "require", "off"]
    read: list[str]
    write: list[str]
    network: bool
    ports: list[int]


@dataclass(frozen=True)
class JobRequest(SandboxMessage):
    """One job. Paths are absolute."""

    number: int
    """Counts the template's jobs: names the end of this one's output in the log."""
    kind: str
    """The handler's kind."""
    options: dict[str, JsonValue]
    cpu_seconds: float
    memory_bytes: int
    output_bytes: int
    input: str
    output: str
    temporary: str
    """A folder for temporary files, of this job alone."""
    key: str
    etag: str
    url: str
    """Of the job's files, for a server on this machine; empty: there is none."""
    sandbox: JailRules
    models: dict[str, str] = dataclasses.field(default_factory=dict)
    """Folder of each model, by name."""
    model_roots: dict[str, str] = dataclasses.field(default_factory=dict)
    """Which version each of them is."""
    models_bytes: int = 0
    """Of all their files: what is mapped of them is not held against ``memory_bytes``."""
    imports: list[str] = dataclasses.field(default_factory=list)
    """Folders that Python imports from before all others."""


# ── from a job's process ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class OutputEntry(SandboxMessage):
    """One file in the job's output folder that the handler wants published."""

    name: str
    content_type: str
    cache_control: str


@dataclass(frozen=True)
class HandlerDone(SandboxMessage):
    """The handler returned a result, which is yet to be checked."""

    outputs: list[OutputEntry]
    labels: dict[str, JsonValue]
    status: Literal["done"] = "done"


@dataclass(frozen=True)
class HandlerFailed(SandboxMessage):
    """The handler raised an exception."""

    reason: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$")]
    message: Annotated[str, Field(max_length=MAX_MESSAGE_LENGTH)]
    retry: bool
    status: Literal["failed"] = "failed"


@dataclass(frozen=True)
class HandlerMissing(SandboxMessage):
    """The handler cannot run on this machine, whichever the input."""

    message: Annotated[str, Field(max_length=MAX_MESSAGE_LENGTH)]
    status: Literal["missing"] = "missing"


JobOutcome = HandlerDone | HandlerFailed | HandlerMissing
"""What a job's process says. A hostile file may have written it: it is believed nothing that it could not do anyway."""


# ── from the template process ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class SourceFile(SandboxMessage):
    """A source file of the user's that the template has imported, as it was then."""

    path: str
    modified_ns: int
    size: int


@dataclass(frozen=True)
class TemplateReady(SandboxMessage):
    """The template has loaded what it needs, and takes jobs."""


Exceeded = Literal["cpu", "memory", "output", "files", "processes"]
"""A limit that is the job's, all its processes together."""


@dataclass(frozen=True)
class JobEnd(SandboxMessage):
    """A job has ended, and so has each process that it started. Follows the frame of its outcome.

    That frame is empty where the job's process gave none: it crashed, or exceeded a limit.
    """

    code: int
    """Exit status of the job's process; negative for a signal."""
    cpu_seconds: float
    """Processor time of the job's process and of those that it has waited for."""
    peak_bytes: int
    """Most resident memory of one of these processes."""
    exceeded: Exceeded | None = None
    """Why the template has ended the job."""
    sources: list[SourceFile] = dataclasses.field(default_factory=list)
    """Read by the template since the last message."""


# ── framing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def encode(message: SandboxMessage) -> bytes:
    """Return the frame. Raises ``ValueError`` or ``TypeError`` when the message is too long or is not JSON."""
    # NaN and infinity are not JSON: a handler's label that holds one is the handler's error, not a broken frame.
    body = json.dumps(message, default=_fields, allow_nan=False).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body):,} bytes: at most {MAX_FRAME_BYTES:,} pass between agent and child")
    return HEADER.pack(len(body)) + body


def read_request(stream: BinaryIO) -> JobRequest | None:
    """Wait for the next request; None when the agent has closed the pipe."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    body = stream.read(size)
    if len(body) != size:
        return None
    fields = json.loads(body)
    return JobRequest(**fields | {"sandbox": JailRules(**fields["sandbox"])})


def end_of_log(number: int) -> bytes:
    """Return the mark on the error stream after which no output of this job comes.

    The stream needs a mark of its own, since the kernel keeps no order between two pipes.
    """
    return b"\0end of job %d\0" % number


def _fields(value: object) -> dict[str, object]:
    # Not dataclasses.asdict: it copies labels, and cannot copy each kind of mapping that json can write.
    if isinstance(value, SandboxMessage):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

"""What a child answers, checked: nothing that comes out of a child is believed."""

from __future__ import annotations

import json
import stat
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from workers import protocol
from workers.handlers import HandlerError, Job, OutputFile, Result
from workers.sandbox.child import limit_errors

MAX_LABELS_BYTES = 64 << 10
"""Labels as JSON: small facts for the manifest."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class File(_Part):
    """One file that the handler wants published."""

    name: str
    content_type: str
    cache_control: str


class Done(_Part):
    """The handler returned."""

    outcome: Literal["done"]
    outputs: list[File]
    labels: dict[str, JsonValue]


class Failed(_Part):
    """The handler raised."""

    outcome: Literal["failed"]
    reason: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$")]
    message: Annotated[str, Field(max_length=4_000)]
    retry: bool
    clean: bool


class Fault(_Part):
    """The machine is to blame."""

    outcome: Literal["fault"]
    message: str


Verdict = Done | Failed | Fault


class State(_Part):
    """The child itself."""

    resident_bytes: int
    strays: bool


class Reply(_Part):
    """The answer to one request; see ``workers.sandbox.child.wire``."""

    verdict: Annotated[Verdict, Field(discriminator="outcome")]
    state: State


def read(answered: bytes) -> Reply:
    """Return what a child has sent. Raises ``HandlerError`` when that is none: a handler chose the names in it."""
    try:
        return Reply.model_validate_json(answered)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _invalid(f"cannot be read ({first['msg']})") from None


def result(done: Done, job: Job, output_bytes: int) -> Result:
    """Return what may be published. Raises ``HandlerError`` for anything that may not."""
    if len(done.outputs) > protocol.MAX_OUTPUTS:
        raise HandlerError(
            "too-many-outputs",
            f"The handler made {len(done.outputs)} files: at most {protocol.MAX_OUTPUTS} are published.",
        )
    twice = [name for name, times in Counter(file.name for file in done.outputs).items() if times > 1]
    if twice:
        raise _invalid(f"names {twice[0]!r} twice")
    if len(json.dumps(done.labels)) > MAX_LABELS_BYTES:
        raise _invalid(f"has labels of more than {MAX_LABELS_BYTES:,} bytes")
    if sum(_size(file, job.output) for file in done.outputs) > output_bytes:
        raise limit_errors.output(output_bytes)
    outputs = tuple(OutputFile(file.name, file.content_type, file.cache_control) for file in done.outputs)
    return Result(outputs=outputs, labels=done.labels)


def _size(file: File, folder: Path) -> int:
    """Size in bytes of one output that is in order."""
    if file.name == protocol.MANIFEST:
        raise _invalid(f"names {protocol.MANIFEST}, which is the manifest's own name")
    _check_publishable(file)
    try:
        status = (folder / file.name).lstat()
    except FileNotFoundError:
        raise _invalid(f"names {file.name}, which is not in the output folder") from None
    if not stat.S_ISREG(status.st_mode):
        raise _invalid(f"names {file.name}, which is a folder, a link or a device: only plain files are published")
    return status.st_size


def _check_publishable(file: File) -> None:
    try:
        protocol.OutputRequest(name=file.name, size=0, content_type=file.content_type, cache_control=file.cache_control)
    except ValidationError as error:
        first = error.errors()[0]
        raise _invalid(f"has an output whose {first['loc'][0]} is {first['input']!r}: {first['msg']}") from None


def _invalid(what: str) -> HandlerError:
    return HandlerError("handler-error", f"The handler's result {what}."[:4_000], retry=True)

"""Validates what a child sends: the agent believes nothing that comes out of a child."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from workers import protocol
from workers.handlers import HandlerError, OutputFile
from workers.sandbox import limit_errors
from workers.sandbox.messages import MAX_MESSAGE_LENGTH, HandlerDone, JobEnd, JobOutcome, OutputEntry, TemplateReady
from workers.sandbox.opened import NotPublishableError, OpenedResult, open_all

MAX_LABELS_BYTES = 64 << 10
"""Labels as JSON: small facts for the manifest."""

_OUTCOME: TypeAdapter[JobOutcome] = TypeAdapter(Annotated[JobOutcome, Field(discriminator="status")])
_READY = TypeAdapter(TemplateReady)
_END = TypeAdapter(JobEnd)


def parse_ready(body: bytes) -> TemplateReady:
    """Return what a template says once it is ready. Raises pydantic's ``ValidationError``."""
    return _READY.validate_json(body)


def parse_end(body: bytes) -> JobEnd:
    """Return what a template says of a job's end. Raises pydantic's ``ValidationError``."""
    return _END.validate_json(body)


def parse_outcome(body: bytes) -> JobOutcome:
    """Return a job's outcome. Raises ``HandlerError`` when it breaks the schema: a handler chose the texts in it."""
    try:
        return _OUTCOME.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _invalid(f"cannot be read ({first['msg']})") from None


def publishable(done: HandlerDone, folder: int, output_bytes: int) -> OpenedResult:
    """Open the handler's outputs in ``folder``, a descriptor, if all of them may be published.

    Raises ``HandlerError`` for too many, too large, repeated or misnamed outputs, outputs that are no plain files in
    the folder, and labels over ``MAX_LABELS_BYTES``.
    """
    if len(done.outputs) > protocol.MAX_OUTPUTS:
        raise HandlerError(
            "too-many-outputs",
            f"The handler made {len(done.outputs)} files: at most {protocol.MAX_OUTPUTS} are published.",
        )
    repeated = [name for name, times in Counter(entry.name for entry in done.outputs).items() if times > 1]
    if repeated:
        raise _invalid(f"names {repeated[0]!r} twice")
    if len(json.dumps(done.labels)) > MAX_LABELS_BYTES:
        raise _invalid(f"has labels of more than {MAX_LABELS_BYTES:,} bytes")
    for entry in done.outputs:
        _check_publishable(entry)
    return _opened(done, folder, output_bytes)


def _opened(done: HandlerDone, folder: int, output_bytes: int) -> OpenedResult:
    files = [OutputFile(entry.name, entry.content_type, entry.cache_control) for entry in done.outputs]
    try:
        result = OpenedResult(open_all(files, folder), done.labels)
    except NotPublishableError as error:
        raise _invalid(f"names {error}") from None
    if sum(output.size for output in result.outputs) > output_bytes:
        result.close()
        raise limit_errors.output(output_bytes)
    return result


def _check_publishable(entry: OutputEntry) -> None:
    if entry.name == protocol.MANIFEST:
        raise _invalid(f"names {protocol.MANIFEST}, which is the manifest's own name")
    # The protocol's own rules, applied before anything is uploaded: the name ends up in a path and a URL.
    try:
        protocol.OutputRequest(
            name=entry.name, size=0, content_type=entry.content_type, cache_control=entry.cache_control
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise _invalid(f"has an output whose {first['loc'][0]} is {first['input']!r}: {first['msg']}") from None


def _invalid(problem: str) -> HandlerError:
    return HandlerError("handler-error", f"The handler's result {problem}."[:MAX_MESSAGE_LENGTH], retry=True)

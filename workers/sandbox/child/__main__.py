"""The child process: ``python -m workers.sandbox.child PARENT_PIPE [KIND …]``.

``PARENT_PIPE`` is the number of the file descriptor whose other end closes when the agent ends; each ``KIND`` names a
handler to load before the first job. Requests come on standard input and replies go to standard output, both moved out
of a handler's reach first: what a handler prints goes to standard error.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from workers.handlers import HandlerUnavailable, Job, Result, registry
from workers.handlers.folder import handlers_folder
from workers.sandbox import messages
from workers.sandbox.child import limits, orphans, parent_death
from workers.sandbox.child.classify import classify
from workers.sandbox.child.source_files import SourceFiles
from workers.sandbox.messages import ChildReply, ChildState, HandlerDone, JobRequest, OutputEntry


def main(parent_pipe: str, *kinds: str) -> None:
    """Serve jobs until the agent closes the pipe."""
    parent_death.end_with(int(parent_pipe))
    requests, replies = _take_pipes()
    orphans.adopt()
    limits.no_core_dumps()
    faulthandler.enable()
    for kind in kinds:
        registry.load(kind)
    # After Yurt's own modules are loaded: none of them is looked for in the user's folder.
    sources = SourceFiles(folder) if (folder := handlers_folder()) else None
    if sources:
        sources.install()
    replies.write(messages.encode(_state(sources)))
    while (request := messages.read_request(requests)) is not None:
        replies.write(_reply(request, sources))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    os.close(empty)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what was printed survives a crash
    return requests, replies


def _reply(request: JobRequest, sources: SourceFiles | None) -> bytes:
    try:
        done = _run(request)
        # Encoded inside the try: labels that are not JSON are the handler's error.
        frame = messages.encode(ChildReply(done, _state(sources)))
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: a handler must not end the child
        traceback.print_exc()
        frame = messages.encode(ChildReply(classify(error, request), _state(sources)))
    _end_log(request.number)
    return frame


def _run(request: JobRequest) -> HandlerDone:
    job = Job(
        input=Path(request.input),
        output=Path(request.output),
        key=request.key,
        etag=request.etag,
        options=request.options,
    )
    with limits.applied(
        cpu_seconds=request.cpu_seconds,
        memory_bytes=request.memory_bytes,
        output_bytes=request.output_bytes,
    ):
        return _done(_handler(request.kind)(job))


def _handler(kind: str) -> Callable[[Job], Result]:
    try:
        return registry.load(kind)
    except ImportError as error:
        raise HandlerUnavailable(f"The handler {kind} cannot be loaded: {error}. Is Yurt installed whole?") from error


def _done(result: Result) -> HandlerDone:
    outputs = [OutputEntry(file.name, file.content_type, file.cache_control) for file in result.outputs]
    return HandlerDone(outputs, dict(result.labels))


def _state(sources: SourceFiles | None) -> ChildState:
    return ChildState(
        resident_bytes=limits.resident_bytes(),
        orphans=orphans.are_running(),
        cpu_seconds=limits.cpu_seconds(),
        peak_bytes=limits.peak_bytes(),
        sources=sources.take() if sources else [],
    )


def _end_log(number: int) -> None:
    with suppress(Exception):  # a handler may have replaced them by anything
        sys.stdout.flush()
        sys.stderr.flush()
    os.write(2, messages.end_of_log(number))


if __name__ == "__main__":
    main(*sys.argv[1:])

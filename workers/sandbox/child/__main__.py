"""The child process: ``python -m workers.sandbox.child LIFELINE [KIND …]``.

``LIFELINE`` is the number of the file descriptor that ends with the agent; each ``KIND`` names a handler to
load before the first job. Requests come on standard input and replies go to standard output, both moved out
of a handler's reach first: what a handler prints goes to standard error.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from workers.handlers import Job, Result, registry
from workers.sandbox.child import limits, orphans, parent_death, verdict, wire


def main(lifeline: str, *kinds: str) -> None:
    """Serve jobs until the agent closes the pipe."""
    parent_death.die_with(int(lifeline))
    requests, replies = _take_pipes()
    orphans.adopt()
    limits.no_core_dumps()
    faulthandler.enable()
    for kind in kinds:
        registry.load(kind)
    replies.write(wire.encode(_state()))
    while (request := wire.read(requests)) is not None:
        replies.write(_reply(request))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what was printed survives a crash
    return requests, replies


def _reply(request: wire.Request) -> bytes:
    try:
        done = _run(request)
        frame = wire.encode(wire.Reply(verdict=done, state=_state()))
    except BaseException as error:
        traceback.print_exc()
        frame = wire.encode(wire.Reply(verdict=verdict.of(error, request), state=_state()))
    _end_log(request["number"])
    return frame


def _run(request: wire.Request) -> wire.Done:
    job = Job(
        input=Path(request["input"]),
        output=Path(request["output"]),
        key=request["key"],
        etag=request["etag"],
        options=request["options"],
    )
    with limits.applied(
        cpu_seconds=request["cpu_seconds"],
        memory_bytes=request["memory_bytes"],
        output_bytes=request["output_bytes"],
    ):
        return _done(registry.load(request["kind"])(job))


def _done(result: Result) -> wire.Done:
    outputs = [
        wire.OutputFile(name=file.name, content_type=file.content_type, cache_control=file.cache_control)
        for file in result.outputs
    ]
    return wire.Done(outcome="done", outputs=outputs, labels=dict(result.labels))


def _state() -> wire.State:
    return wire.State(resident_bytes=limits.resident_bytes(), strays=orphans.remain())


def _end_log(number: int) -> None:
    with suppress(Exception):  # a handler may have put anything there
        sys.stdout.flush()
        sys.stderr.flush()
    os.write(2, wire.end_of_log(number))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runs one job in the process that was forked for it: limits, the handler, the outcome."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from workers.handlers import HandlerUnavailable, Job, Result, registry
from workers.sandbox import messages
from workers.sandbox.child import jail, limits
from workers.sandbox.child.classify import classify
from workers.sandbox.child.jail import JailError
from workers.sandbox.child.jail.handler_policy import policy_of
from workers.sandbox.messages import HandlerDone, JobRequest, OutputEntry


def serve(requests: int, outcomes: int, *, close: Sequence[int]) -> NoReturn:
    """Wait for one request, run it, send its outcome, and exit without cleaning up: the process ends whole."""
    try:
        for descriptor in close:
            os.close(descriptor)
        with os.fdopen(requests, "rb") as stream:
            request = messages.read_request(stream)
        if request is not None:
            _send(outcomes, _outcome(request))
    finally:
        os._exit(0)


def _outcome(request: JobRequest) -> bytes:
    try:
        # Encoded inside the try: labels that are not JSON are the handler's error.
        frame = messages.encode(_run(request))
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: they leave a handler by the same way
        traceback.print_exc()
        frame = messages.encode(classify(error, request))
    with suppress(Exception):  # a handler may have replaced them by anything
        sys.stdout.flush()
        sys.stderr.flush()
    return frame


def _run(request: JobRequest) -> HandlerDone:
    _use_temporary(request.temporary)
    job = Job(
        input=Path(request.input),
        output=Path(request.output),
        key=request.key,
        etag=request.etag,
        options=request.options,
        url=request.url,
        models={name: Path(folder) for name, folder in request.models.items()},
        imports=tuple(map(Path, request.imports)),
        model_roots=request.model_roots,
    )
    limits.apply(
        cpu_seconds=request.cpu_seconds,
        # Mapped weights are address space, but no memory of the job's.
        memory_bytes=request.memory_bytes + request.models_bytes,
        output_bytes=request.output_bytes,
    )
    registry.connect(request.kind, request.options)
    _enter_jail(request)
    return _done(_handler(request.kind)(job))


def _enter_jail(request: JobRequest) -> None:
    """Jail this process before it has read a byte of the input. Raises HandlerUnavailable where that is required."""
    mode = request.sandbox.mode
    if mode == "off" or (mode == "on" and jail.support().missing):
        return
    try:
        jail.enter(policy_of(request))
    except JailError as error:
        raise HandlerUnavailable(
            f"This worker cannot jail its handlers: {error}. Run it on a kernel that can, or set "
            'sandbox.mode = "off" for the pipeline.'
        ) from error


def _use_temporary(folder: str) -> None:
    """Have temporary files made in the job's own folder, also by the programs that it starts."""
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None


def _handler(kind: str) -> Callable[[Job], Result]:
    try:
        return registry.load(kind)
    except ImportError as error:
        raise HandlerUnavailable(f"The handler {kind} cannot be loaded: {error}. Is Yurt installed whole?") from error


def _done(result: Result) -> HandlerDone:
    outputs = [OutputEntry(file.name, file.content_type, file.cache_control) for file in result.outputs]
    return HandlerDone(outputs, dict(result.labels))


def _send(outcomes: int, frame: bytes) -> None:
    with os.fdopen(outcomes, "wb") as stream:
        stream.write(frame)

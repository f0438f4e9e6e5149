"""The ``function`` handler: calls a function of a bundle that ``yurt deploy`` has made.

For an uploaded object the function is given a `yurt.File`. With ``calls``, the input is one call's arguments
(`yurt.arguments`). What it returns is published as JSON, ``value.json``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

import yurt
from workers.handlers import HandlerError, HandlerUnavailable, Job, OutputFile, Result
from workers.value_types import Sha256
from yurt import arguments

VALUE = "value.json"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


class FunctionOptions(BaseModel):
    """Options of ``handler = "function"``. `yurt deploy` writes them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    bundle: Sha256
    """SHA-256 of the bundle with its code."""
    function: Annotated[str, Field(max_length=500, pattern=rf"^{_NAME}(\.{_NAME})*:{_NAME}$")]
    """``package.module:function``."""
    calls: bool = False
    """Whether inputs are arguments of calls, and not files."""


def handle(job: Job) -> Result:
    """Call the function, and publish what it returns.

    Raises its exceptions, `HandlerUnavailable` where it cannot be imported, and `HandlerError`: ``bad-arguments``,
    ``not-json``, and for a call ``function-error``.
    """
    options = FunctionOptions.model_validate(dict(job.options))
    found = load(options.function, job.imports)
    yurt.models.clear()
    yurt.models.update(job.models)
    value = _called(found, job) if options.calls else found(yurt.File(job.input, job.key, job.etag))
    (job.output / VALUE).write_bytes(_encoded(found, value))
    return Result(outputs=(OutputFile(VALUE, "application/json"),))


@functools.cache
def load(name: str, imports: tuple[Path, ...]) -> yurt.Function[..., Any]:
    """Import ``package.module:function`` from these folders, and return it. Raises `HandlerUnavailable`."""
    module_name, _, attribute = name.partition(":")
    for folder in reversed([str(folder) for folder in imports]):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except MemoryError:
        raise
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError)
        advice = " Add it to requirements= of the function." if missing else ""
        raise HandlerUnavailable(
            f"The function's module {module_name} cannot be imported: {type(error).__name__}: {error}.{advice}"
        ) from error
    found = getattr(module, attribute, None)
    if not isinstance(found, yurt.Function):
        raise HandlerUnavailable(f"The bundle's module {module_name} has no function {attribute}: deploy it anew.")
    return found


def _called(found: yurt.Function[..., Any], job: Job) -> object:
    folder = job.output.with_name("temporary")
    try:
        args, kwargs = arguments.decode(job.input, folder)
        inspect.signature(found.call).bind(*args, **kwargs)
    except (arguments.BadArguments, TypeError) as error:
        raise HandlerError("bad-arguments", f"{found.settings.name} cannot be called so: {error}.") from None
    try:
        return found.call(*args, **kwargs)
    except Exception as error:
        # No other attempt: the caller is told at once, and may call again.
        raise HandlerError("function-error", f"{type(error).__name__}: {error}") from error


def _encoded(found: yurt.Function[..., Any], value: object) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise HandlerError(
            "not-json",
            f"{found.settings.name} returned {type(value).__name__}, which cannot be published: {error}. Return what "
            "JSON can carry: None, bool, numbers, texts, lists and dictionaries of them.",
        ) from None

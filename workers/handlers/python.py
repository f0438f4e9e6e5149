"""The ``python`` handler: calls a function of the user's.

``{"function": "package.module:function", "options": {…}}``. The module has to be importable on the worker:
installed, on ``PYTHONPATH``, or in the folder that the worker was started in. The function is given the
``Job``, with the inner options as ``job.options``, and returns a ``Result``, or None to publish every file in
``job.output``.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from workers.handlers import Job, Result
from workers.handlers.outputs import every_file

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


class PythonOptions(BaseModel):
    """Options of ``handler = "python"``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    function: Annotated[str, Field(max_length=500, pattern=rf"^{_NAME}(\.{_NAME})*:{_NAME}$")]
    """``package.module:function``."""
    options: dict[str, JsonValue] = {}
    """Given to the function as ``job.options``."""


def handle(job: Job) -> Result:
    """Call the function. Raises its exceptions, and ``TypeError`` unless it returns a ``Result`` or None."""
    options = PythonOptions.model_validate(dict(job.options))
    result = _function(options.function)(replace(job, options=options.options))
    if result is None:
        return Result(outputs=every_file(job.output))
    if isinstance(result, Result):
        return result
    raise TypeError(f"{options.function} returned {type(result).__name__}: return a Result, or None")


@functools.cache
def _function(name: str) -> Callable[[Job], object]:
    module, _, attribute = name.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    if not callable(function):
        raise TypeError(f"{name} is not a function")
    return function  # type: ignore[no-any-return]

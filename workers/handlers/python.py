"""The ``python`` handler: calls a function of the user's.

``{"function": "package.module:function", "options": {…}}``. The module is found in the handlers' folder
(`workers.handlers.folder`), or where Python finds what is installed. The function is given the ``Job``, with the inner
options as ``job.options``, and returns a ``Result``, or None to publish every file in ``job.output``.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from workers.handlers import HandlerUnavailable, Job, Result
from workers.handlers.folder import ENVIRONMENT, handlers_folder
from workers.handlers.outputs import every_file

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_OWN = frozenset({"webhook", "workers", "infra", "yurt"})
"""Yurt's own packages: a user's module of such a name could never be imported beside them."""


class PythonOptions(BaseModel):
    """Options of ``handler = "python"``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    function: Annotated[str, Field(max_length=500, pattern=rf"^{_NAME}(\.{_NAME})*:{_NAME}$")]
    """``package.module:function``."""
    options: dict[str, JsonValue] = {}
    """Given to the function as ``job.options``."""

    @field_validator("function")
    @classmethod
    def _no_collision(cls, function: str) -> str:
        top = function.partition(":")[0].partition(".")[0]
        if top in _OWN or top in sys.stdlib_module_names:
            owner = "Yurt" if top in _OWN else "Python"
            raise ValueError(f"{top!r} is the name of a module of {owner}'s own: give yours another name")
        return function


def handle(job: Job) -> Result:
    """Call the function.

    Raises its exceptions, ``TypeError`` unless it returns a ``Result`` or None, and ``HandlerUnavailable`` where it
    cannot be imported.
    """
    options = PythonOptions.model_validate(dict(job.options))
    result = function(options.function)(replace(job, options=options.options))
    if result is None:
        return Result(outputs=every_file(job.output))
    if isinstance(result, Result):
        return result
    raise TypeError(f"{options.function} returned {type(result).__name__}: return a Result, or None")


@functools.cache
def function(name: str) -> Callable[[Job], object]:
    """Import ``package.module:function``, and return the function. Raises ``HandlerUnavailable``."""
    module_name, _, attribute = name.partition(":")
    module = _imported(module_name)
    found = getattr(module, attribute, None)
    if not callable(found):
        file = getattr(module, "__file__", None) or module_name
        what = "there is none in it" if found is None else "it is no function"
        raise HandlerUnavailable(f"The pipeline's options name the function {attribute} of {file}, but {what}.")
    return found  # type: ignore[no-any-return]


def _imported(name: str) -> ModuleType:
    """Import the user's module. Raises HandlerUnavailable for every error: no object was looked at yet."""
    try:
        _import_own(name.partition(".")[0])
        return importlib.import_module(name)
    except MemoryError:
        raise
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise HandlerUnavailable(f"{where}: {type(error).__name__}: {error.msg}") from error
    except Exception as error:
        folder = handlers_folder()
        hint = f"It is looked for in {folder}" if folder else f"Set {ENVIRONMENT} to the folder that holds it"
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0]
        if missing and missing == name.partition(".")[0]:
            advice = f" {hint}, and among what is installed."
        else:
            advice = " Install it on the worker, or put it beside the handler." if missing else ""
        message = f"The module {name} cannot be imported: {type(error).__name__}: {error}.{advice}"
        raise HandlerUnavailable(message) from error


def _import_own(top: str) -> None:
    """Import a top-level module from the handlers' folder, where it is there, before one of that name elsewhere."""
    folder = handlers_folder()
    if folder is None or top in sys.modules:
        return
    spec = PathFinder.find_spec(top, [str(folder)])
    if spec is None or spec.loader is None or spec.origin is None:
        return
    module = module_from_spec(spec)
    sys.modules[top] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[top]
        raise

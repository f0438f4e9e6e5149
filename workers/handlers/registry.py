"""Maps each kind of handler to its options and its code.

Importing this loads no handler's libraries: the control plane checks options without ever handling a file.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import BaseModel, JsonValue

from workers.handlers import Job, Result, command, function, python
from workers.handlers.http.options import HttpOptions
from workers.handlers.photo.options import PhotoOptions
from workers.inference import client


@dataclass(frozen=True, slots=True)
class HandlerKind:
    """One kind of handler: a pipeline's ``handler``."""

    options: type[BaseModel]
    module: str
    """The module with its ``handle(job: Job) -> Result``."""


@dataclass(frozen=True, slots=True)
class HandlerLoading:
    """What of a handler can be loaded ahead of its files."""

    name: str
    """Equal for two jobs that need the same."""
    load: Callable[[], object]


KINDS: Mapping[str, HandlerKind] = {
    "photo": HandlerKind(PhotoOptions, "workers.handlers.photo.handler"),
    "python": HandlerKind(python.PythonOptions, "workers.handlers.python"),
    "http": HandlerKind(HttpOptions, "workers.handlers.http.handler"),
    "function": HandlerKind(function.FunctionOptions, "workers.handlers.function"),
    "command": HandlerKind(command.CommandOptions, "workers.handlers.command"),
}


def validate_options(kind: str, options: Mapping[str, JsonValue]) -> BaseModel:
    """Return the options as that kind's model, defaults filled in.

    Raises ``ValueError`` for an unknown kind and pydantic's ``ValidationError`` (a ``ValueError`` too) for
    wrong options.
    """
    return options_model(kind).model_validate(dict(options))


def options_model(kind: str) -> type[BaseModel]:
    """Return the model of a kind's options. Raises ``ValueError`` for an unknown kind."""
    return _kind(kind).options


def load(kind: str) -> Callable[[Job], Result]:
    """Import a handler's libraries and return its function. Raises ``ValueError`` for an unknown kind."""
    handle: Callable[[Job], Result] = importlib.import_module(_kind(kind).module).handle
    return handle


def warm(kind: str) -> None:
    """Import a handler's libraries, and have them set up what each file needs. Raises ``ValueError`` as ``load``."""
    load(kind)
    if prepare := getattr(importlib.import_module(_kind(kind).module), "warm_up", None):
        prepare()


def connect(kind: str, options: Mapping[str, JsonValue]) -> None:
    """Open, before the job's process is jailed, the connection that such a job needs. Raises InferenceLost."""
    if kind == "photo" and options.get("checks"):
        client.connect()


def loading(
    kind: str, options: Mapping[str, JsonValue], models: Mapping[str, Path], imports: tuple[Path, ...] = ()
) -> Sequence[HandlerLoading]:
    """Return what can be loaded ahead for such a job: one more with each job, in this order.

    Empty where there is nothing to load, or the options are wrong, which the handler itself says.
    """
    try:
        match kind:
            case "function":
                name = function.FunctionOptions.model_validate(dict(options)).function
                return (HandlerLoading(f"function {name}", partial(function.load, name, imports)),)
            case "python":
                name = python.PythonOptions.model_validate(dict(options)).function
                return (HandlerLoading(f"python {name}", partial(python.function, name)),)
            case "photo":
                return _loading_photo(PhotoOptions.model_validate(dict(options)), models)
            case _:
                return (HandlerLoading(kind, partial(warm, kind)),) if kind in KINDS else ()
    except ValueError:
        return ()


def _loading_photo(options: PhotoOptions, models: Mapping[str, Path]) -> Sequence[HandlerLoading]:
    named = ["photo", *(["pdq"] if options.pdq else [])]
    if not options.checks:
        return (HandlerLoading(" ".join(named), partial(_load_libraries, options)),)
    folders = [str(models.get(name, "")) for name in options.checks]
    with_models = HandlerLoading(" ".join([*named, *folders]), partial(_warm_photo, options, models))
    if not client.is_remote():
        return (with_models,)
    # The first photo is decoded while its models are still being loaded by the process that runs them.
    return (HandlerLoading(" ".join([*named, "checks"]), partial(_load_libraries, options)), with_models)


def _load_libraries(options: PhotoOptions) -> None:
    warm("photo")
    importlib.import_module("workers.handlers.photo.inspection").load_libraries(options)


def _warm_photo(options: PhotoOptions, models: Mapping[str, Path]) -> None:
    """Have the models of the checks loaded where models run, and what is known of them here."""
    _load_libraries(options)
    try:
        importlib.import_module("workers.handlers.photo.inspection").load_models(options, models)
    finally:
        client.disconnect()


def _kind(kind: str) -> HandlerKind:
    if kind not in KINDS:
        raise ValueError(f"unknown handler {kind!r}: one of {', '.join(sorted(KINDS))}")
    return KINDS[kind]

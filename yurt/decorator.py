"""The decorator that makes a function of a module one that workers run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, overload

from yurt.errors import DefinitionError
from yurt.file import File

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,43}")
_PLACE = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]/.{0,500}")
_MOST_REQUIREMENTS = 200
_MAX_REQUIREMENT = 500

models: dict[str, Path] = {}
"""The folder of each model that the function names, to be read only. A worker fills it before a call; for a call on
your own machine, put the folders in yourself: ``yurt.models["safety"] = Path("safety")``."""


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """What a function needs, and when it runs."""

    name: str
    """1 to 44 of a-z, 0-9 and hyphens: the pipeline's name."""
    pool: str
    """Pool whose machines run it."""
    models: tuple[str, ...]
    """Models that are on the worker's disk, at ``yurt.models``."""
    requirements: tuple[str, ...]
    """Packages from an index, as in a requirements file (``numpy>=2``)."""
    on: str | None
    """``s3://bucket/prefix/``: each object there is handled. None: only calls."""
    output: str | None
    """``s3://bucket/prefix/``: where the values for objects of ``on`` go, as ``KEY/value.json``."""
    suffixes: tuple[str, ...]
    """Of the keys in ``on`` to handle; all where empty."""
    timeout_seconds: float
    """Wall time of one run."""
    memory_bytes: int | None
    """Most memory of one run; None: the pipeline's default."""
    attempts: int
    """Failed attempts before an object of ``on``, or a call whose worker was lost, is given up."""
    network: bool
    """Whether it may use the network, by HTTPS."""
    pipeline: Mapping[str, Any]
    """Further settings of its pipelines, as in ``yurt.toml``: ``{"unsigned_headers": "stage"}``."""

    def check(self) -> None:
        """Raise `DefinitionError` where this cannot work."""
        if not _NAME.fullmatch(self.name):
            raise DefinitionError(
                f"{self.name!r} cannot be a function's name: set name= to 1 to 44 of a-z, 0-9 and '-', beginning with "
                "a letter or digit"
            )
        if (self.on is None) != (self.output is None):
            raise DefinitionError(f"{self.name}: on= and output= belong together: set both, or none for calls alone")
        for field, place in (("on", self.on), ("output", self.output)):
            if place is not None and not _PLACE.fullmatch(place):
                raise DefinitionError(f"{self.name}: {field}={place!r} has to be of the form s3://bucket/prefix/")
        if len(self.requirements) > _MOST_REQUIREMENTS:
            raise DefinitionError(f"{self.name} names more than {_MOST_REQUIREMENTS} requirements: leave some out")
        for requirement in self.requirements:
            _check_requirement(self.name, requirement)
        if self.timeout_seconds <= 0:
            raise DefinitionError(f"{self.name}: timeout_seconds is {self.timeout_seconds:g}: set more than 0")
        if self.attempts < 1:
            raise DefinitionError(f"{self.name}: attempts is {self.attempts}: set at least 1")


class Function(Generic[Parameters, Value]):
    """A function that workers run. Calling it runs it here, as if it were not decorated."""

    __name__: str

    def __init__(self, call: Callable[Parameters, Value], settings: FunctionSettings) -> None:
        settings.check()
        if inspect.iscoroutinefunction(call) or inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
            raise DefinitionError(f"{settings.name} is a coroutine or a generator: make it a plain function")
        if getattr(call, "__qualname__", "") != getattr(call, "__name__", ""):
            raise DefinitionError(f"{settings.name} lies inside a function or class: move it to the top of its module")
        self.call = call
        """The function itself."""
        self.settings = settings
        update_wrapper(self, call)

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Value:
        """Run it here."""
        return self.call(*args, **kwargs)

    def remote(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Value:
        """Run it on a worker, and return its value as JSON carries it: a tuple comes back as a list.

        Takes what JSON can carry, and `File`. The control plane is named by the environment: ``YURT_URL``, and
        ``YURT_TOKEN`` with a token of the scope ``call:NAME``, or ``YURT_ADMIN_TOKEN``.

        Raises:
            RemoteError: it has failed there; holds the traceback.
            NotReachable: control plane or bucket do not answer, or refuse.
            TypeError, ValueError: an argument is nothing that JSON can carry.

        """
        from yurt.calls import run_all

        return run_all(self.settings.name, [(args, kwargs)])[0]  # type: ignore[no-any-return]

    def map(
        self,
        items: Iterable[Any],
        /,
        *,
        unpack: bool = False,
        kwargs: Mapping[str, Any] | None = None,
        key: str = "",
        wait_seconds: float | None = None,
    ) -> list[Value]:
        """Run it for each item at the same time, on as many workers as there are, and return the values in order.

        Args:
            items: First argument of each call, or with ``unpack`` the tuple of its positional arguments. At most 1,000.
            unpack: Whether items are tuples of arguments.
            kwargs: Further arguments of every call.
            key: Names the calls: those of a second ``map`` with this key and the same arguments are not run again.
            wait_seconds: Longest wait for all of them; None: as long as it takes.

        Raises `RemoteError` for the first item that failed, once all have ended, and `CallTimeout`; else as `remote`.
        """
        from yurt.calls import run_all

        calls = [(tuple(item) if unpack else (item,), dict(kwargs or {})) for item in items]
        return run_all(self.settings.name, calls, key=key, wait_seconds=wait_seconds)

    @property
    def file_parameters(self) -> list[str]:
        """Names, and as text positions from 0, of the parameters whose type is `File`."""
        found = enumerate(inspect.signature(self.call).parameters.values())
        files = [(str(place), parameter.name) for place, parameter in found if _is_file(parameter.annotation)]
        return [text for pair in files for text in pair]

    def __repr__(self) -> str:
        return f"<yurt.Function {self.settings.name}>"


@overload
def function(call: Callable[Parameters, Value], /) -> Function[Parameters, Value]: ...


@overload
def function(
    *,
    name: str = "",
    pool: str = "local",
    models: Sequence[str] = (),
    requirements: Sequence[str] = (),
    on: str | None = None,
    output: str | None = None,
    suffixes: Sequence[str] = (),
    timeout_seconds: float = 120,
    memory_bytes: int | None = None,
    attempts: int = 3,
    network: bool = False,
    pipeline: Mapping[str, Any] | None = None,
) -> Callable[[Callable[Parameters, Value]], Function[Parameters, Value]]: ...


def function(call: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
    """Make a function one that workers run: for each object below ``on``, and for each call with ``remote``.

    Args:
        call: The function, where the decorator is used without parentheses.
        settings: As in `FunctionSettings`. ``name`` is by default the function's, with hyphens for underscores.

    Raises `DefinitionError` where that cannot work.
    """
    if call is not None:
        return Function(call, _settings(call.__name__))
    return lambda decorated: Function(decorated, _settings(decorated.__name__, **settings))


def _settings(
    own_name: str,
    *,
    name: str = "",
    pool: str = "local",
    models: Sequence[str] = (),
    requirements: Sequence[str] = (),
    on: str | None = None,
    output: str | None = None,
    suffixes: Sequence[str] = (),
    timeout_seconds: float = 120,
    memory_bytes: int | None = None,
    attempts: int = 3,
    network: bool = False,
    pipeline: Mapping[str, Any] | None = None,
) -> FunctionSettings:
    lists = {"models": models, "requirements": requirements, "suffixes": suffixes}
    for field, value in lists.items():
        if isinstance(value, str):
            raise DefinitionError(f"{own_name}: {field} is one text: write {field}=[{value!r}]")
    return FunctionSettings(
        name=name or own_name.strip("_").lower().replace("_", "-"),
        pool=pool,
        models=tuple(models),
        requirements=tuple(requirements),
        on=on,
        output=output,
        suffixes=tuple(suffixes),
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
        attempts=attempts,
        network=network,
        pipeline=dict(pipeline or {}),
    )


def _is_file(annotation: object) -> bool:
    """Whether a parameter's type is `File`. With postponed evaluation of annotations it is a text."""
    return annotation is File or (isinstance(annotation, str) and annotation.rpartition(".")[2] == "File")


def _check_requirement(function: str, requirement: str) -> None:
    """Refuse what is no package of an index: an option, a file, a URL."""
    text = requirement.strip()
    if not text or len(text) > _MAX_REQUIREMENT or "\n" in text or text.startswith(("-", "#", ".", "/")):
        raise DefinitionError(f"{function}: the requirement {requirement!r} is no package: write it as numpy>=2")
    if "://" in text or " @ " in text:
        raise DefinitionError(
            f"{function}: the requirement {requirement[:60]!r} names a URL: only packages of an index can be locked "
            "with hashes"
        )


def functions_of(module: Mapping[str, object]) -> Iterator[tuple[str, Function[..., Any]]]:
    """The functions of a module's namespace, with the names by which it has them, each once."""
    seen: set[int] = set()
    for attribute, value in module.items():
        if isinstance(value, Function) and id(value) not in seen:
            seen.add(id(value))
            yield attribute, value

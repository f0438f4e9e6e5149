"""The decorator: plain calls go on working, and what cannot work is refused where it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

import yurt
from yurt import DefinitionError
from yurt.decorator import Function, functions_of
from yurt.errors import YurtError


@yurt.function
def add_up(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@yurt.function(name="sizes", models=["safety"], requirements=["numpy>=2"])
def size(label: str, photo: yurt.File, other: yurt.File | None = None) -> int:
    return len(photo.read_bytes()) + len(label)


def test_a_decorated_function_is_called_as_before(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("abc")
    assert (add_up(1), add_up(1, b=4), size("ab", yurt.File(tmp_path / "x"))) == (2, 5, 5)
    assert (add_up.__doc__, add_up.__name__) == ("Add two numbers.", "add_up")


def test_names_and_parameters() -> None:
    assert (add_up.settings.name, size.settings.name, size.settings.models) == ("add-up", "sizes", ("safety",))
    assert (add_up.file_parameters, size.file_parameters) == ([], ["1", "photo"])
    found = dict(functions_of({"size": size, "again": size, "number": 3}))
    assert found == {"size": size}, "each once, by its first name"
    assert isinstance(found["size"], Function)


def attempt(**settings: object) -> None:
    yurt.function(**settings)(add_up.call)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "Über"}, "cannot be a function's name"),
        ({"name": "x" * 45}, "1 to 44 of a-z"),
        ({"on": "s3://a-bucket/in/"}, "belong together"),
        ({"on": "in/", "output": "s3://a-bucket/out/"}, "of the form s3://bucket/prefix/"),
        ({"requirements": "numpy"}, r"write requirements=\['numpy'\]"),
        ({"requirements": ["git+https://example.com/x"]}, "names a URL"),
        ({"requirements": ["--index-url=x"]}, "is no package"),
        ({"requirements": ["./wheel.whl"]}, "is no package"),
        ({"requirements": ["a"] * 201}, "more than 200"),
        ({"timeout_seconds": 0}, "set more than 0"),
        ({"attempts": 0}, "set at least 1"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_written(settings: dict[str, object], message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as refused:
        attempt(**settings)
    assert isinstance(refused.value, YurtError)


def test_functions_that_no_worker_finds_or_can_run_are_refused() -> None:
    async def later() -> None: ...

    def inner() -> None: ...

    with pytest.raises(DefinitionError, match="make it a plain function"):
        yurt.function(later)
    with pytest.raises(DefinitionError, match="move it to the top of its module"):
        yurt.function(inner)

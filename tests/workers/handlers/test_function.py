"""Handler ``function`` in this process; ``bundles/test_worker_bundles`` has it in an agent."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue, ValidationError

import yurt
from workers.handlers import HandlerError, HandlerUnavailable, Job, OutputFile
from workers.handlers.function import VALUE, FunctionOptions, handle, load
from yurt.arguments import encode

CODE = """
import yurt
@yurt.function
def scaled(number: int, by: int = 2, label: yurt.File | None = None):
    if number < 0:
        raise ValueError("negative")
    return {"value": number * by, "label": label.read_text() if label else None, "model": str(yurt.models.get("m"))}
@yurt.function
def described(file: yurt.File):
    return [file.key, file.etag, file.content_type, file.read_text()]
@yurt.function
def wrong():
    return {1}
"""
_COUNT = iter(range(100))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = f"functions_of_a_test_{next(_COUNT)}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.setattr("sys.path", [*sys.path])
    yield name
    load.cache_clear()


def job(tmp_path: Path, function: str, *, calls: bool = False) -> Job:
    (tmp_path / "output").mkdir()
    (tmp_path / "temporary").mkdir()
    options: dict[str, JsonValue] = {"bundle": "0" * 64, "function": function, "calls": calls}
    return Job(
        tmp_path / "input", tmp_path / "output", "uploads/a.txt", "e1", options, models={"m": Path("/m")},
        imports=(tmp_path,),
    )  # fmt: skip


def call(tmp_path: Path, function: str, *args: object, **kwargs: object) -> object:
    with (tmp_path / "input").open("wb") as file:
        encode(file, args, kwargs)
    assert handle(job(tmp_path, function, calls=True)).outputs == (OutputFile(VALUE, "application/json"),)
    return json.loads((tmp_path / "output" / VALUE).read_text())


def test_an_object_is_given_as_a_file(tmp_path: Path, module: str) -> None:
    (tmp_path / "input").write_text("text")
    handle(job(tmp_path, f"{module}:described"))
    assert json.loads((tmp_path / "output" / VALUE).read_text()) == ["uploads/a.txt", "e1", "text/plain", "text"]


def test_a_call_has_its_arguments_files_and_models(tmp_path: Path, module: str) -> None:
    (tmp_path / "label.txt").write_text("a label")
    found = call(tmp_path, f"{module}:scaled", 3, by=5, label=yurt.File(tmp_path / "label.txt"))
    assert found == {"value": 15, "label": "a label", "model": "/m"}


def test_what_a_call_does_wrong_is_told_its_caller(tmp_path: Path, module: str) -> None:
    with pytest.raises(HandlerError, match="ValueError: negative") as failed:
        call(tmp_path, f"{module}:scaled", -1)
    assert (failed.value.reason, failed.value.retry) == ("function-error", False)


@pytest.mark.parametrize(("name", "reason"), [("scaled", "bad-arguments"), ("wrong", "not-json")])
def test_arguments_and_values_that_cannot_be(name: str, reason: str, tmp_path: Path, module: str) -> None:
    with pytest.raises(HandlerError) as failed:
        call(tmp_path, f"{module}:{name}")
    assert (failed.value.reason, failed.value.retry) == (reason, False)


def test_what_cannot_be_imported_blames_no_object(tmp_path: Path, module: str) -> None:
    (tmp_path / "input").write_text("text")
    for function, why in (
        (f"{module}:none", "has no function none"),
        ("no_such_module_here:x", "Add it to requirements="),
    ):
        with pytest.raises(HandlerUnavailable, match=why):
            load(function, (tmp_path,))


def test_options_name_a_bundle_and_a_function() -> None:
    with pytest.raises(ValidationError):
        FunctionOptions(bundle="x", function="app:one")
    with pytest.raises(ValidationError):
        FunctionOptions(bundle="0" * 64, function="app.one")

"""Handler ``python`` in this process; ``sandbox/test_process`` has the failures in a child."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue, ValidationError

from workers.handlers import Job, OutputFile
from workers.handlers.python import PythonOptions, handle


def job(tmp_path: Path, function: str, options: dict[str, JsonValue]) -> Job:
    options = {"function": f"tests.workers.sandbox.misbehaviour:{function}", "options": options}
    return Job(input=tmp_path / "input", output=tmp_path, key="k", etag="e", options=options)


def test_a_function_sees_its_own_options(tmp_path: Path) -> None:
    assert handle(job(tmp_path, "echo_options", {"a": 1})).labels["options"] == {"a": 1}


def test_none_publishes_every_file(tmp_path: Path) -> None:
    assert handle(job(tmp_path, "publish_all", {})).outputs == (
        OutputFile("a.webp", "image/webp"),
        OutputFile("b.tar.gz", "application/gzip"),
    )


def test_anything_else_is_an_error_that_says_what_to_return(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="returned list: return a Result, or None"):
        handle(job(tmp_path, "wrong_type", {}))


@pytest.mark.parametrize(("module", "owner"), [("workers.mine", "Yurt"), ("infra", "Yurt"), ("csv", "Python")])
def test_a_module_of_the_name_of_ours_or_pythons_is_refused_with_the_configuration(module: str, owner: str) -> None:
    with pytest.raises(ValidationError, match=f"a module of {owner}'s own: give yours another name"):
        PythonOptions(function=f"{module}:handle")

"""Calls of functions, through a real control plane, bucket and workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.polling import wait_until
from tests.yurt.deployed import deployed
from tests.yurt.wheels import index, wheel
from yurt import File, RemoteError
from yurt.calls import MAX_CALLS, run_all

APP = """
import yurt

@yurt.function(requirements=["greeting>=1"], on="s3://photos-in/uploads/", output="s3://photos-out/captions/")
def caption(photo: yurt.File) -> dict:
    import greeting
    return {"text": greeting.words(), "bytes": len(photo.read_bytes()), "key": photo.key, "type": photo.content_type}

@yurt.function
def divide(a: int, b: int = 2) -> float:
    print("dividing", a, "by", b)
    return a / b

@yurt.function
def strange(kind: str):
    return {"set": {1}, "nan": float("nan"), "long": "x" * 200_000}[kind]
"""


def test_functions_run_on_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = index(tmp_path / "index", monkeypatch)
    wheel(tmp_path / "index", "greeting", "def words():\n    return 'hello'\n")
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(b"x" * 100_000)
    with deployed(APP, tmp_path, monkeypatch, variables) as app:
        assert app.module.divide(9, b=3) == 3, "a plain call runs here"
        assert app.module.divide.remote(9, b=3) == 3
        assert app.module.divide.map(range(20)) == [number / 2 for number in range(20)]
        expected = {"text": "hello", "bytes": 100_000, "key": "cat.jpg", "type": "image/jpeg"}
        assert app.module.caption.remote(File(photo)) == expected
        assert app.module.strange.remote("long") == "x" * 200_000

        with pytest.raises(RemoteError) as failed:
            app.module.divide.remote(1, 0)
        assert (failed.value.reason, failed.value.message) == ("function-error", "ZeroDivisionError: division by zero")
        assert "return a / b" in failed.value.traceback, "the traceback of the worker"
        assert "dividing 1 by 0" in failed.value.traceback, "and what was printed"
        for kind in ("set", "nan"):
            with pytest.raises(RemoteError, match="Return what JSON can carry") as failed:
                app.module.strange.remote(kind)
            assert failed.value.reason == "not-json"
        with pytest.raises(RemoteError, match="cannot be called so") as failed:
            app.module.divide.remote()
        assert failed.value.reason == "bad-arguments"

        s3 = app.stack.s3()
        s3.upload_file(str(photo), "photos-in", "uploads/dog.jpg")
        value = "captions/uploads/dog.jpg/value.json"
        wait_until(lambda: s3.list_objects_v2(Bucket="photos-out", Prefix=value)["KeyCount"] == 1, seconds=60)
        published = json.loads(s3.get_object(Bucket="photos-out", Key=value)["Body"].read())
        assert published == {**expected, "key": "uploads/dog.jpg"}


def test_a_key_names_calls_that_are_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, yurt\n@yurt.function\ndef draw(n: int) -> str:\n    return os.urandom(8).hex()\n"
    with deployed(code, tmp_path, monkeypatch) as app:
        first = app.module.draw.map([1, 2], key="monday")
        assert app.module.draw.map([1, 2], key="monday") == first
        assert set(app.module.draw.map([1, 2], key="tuesday")).isdisjoint(first)
        assert app.module.draw.map([3, 2], key="monday")[1] == first[1], "by place and arguments"


def test_too_many_calls_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="at most 1,000"):
        run_all("divide", [((1,), {})] * (MAX_CALLS + 1))
    assert run_all("divide", []) == []

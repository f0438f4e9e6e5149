"""What a server answers becomes files."""

from __future__ import annotations

import http.client
import io
import json
from pathlib import Path
from typing import Any

import pytest

from workers.handlers import HandlerError
from workers.handlers.http import answers
from workers.handlers.http.options import HttpOptions
from workers.protocol import MAX_OUTPUTS


class _Wire:
    """A socket from which an answer can be read."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._raw)


def written(folder: Path, body: bytes, kind: str = "application/json", **options: Any) -> dict[str, bytes]:
    """The files that an answer becomes."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = http.client.HTTPResponse(_Wire(head + body))  # type: ignore[arg-type]
    answer.begin()
    answers.write(answer, folder, HttpOptions.model_validate({"port": 80, "body": "file", **options}))
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def test_json_becomes_a_file_of_its_kind(tmp_path: Path) -> None:
    for number, (value, path, expected) in enumerate(
        [
            ({"label": "ü", "score": 0.5}, "", {"output.json": '{"label": "ü", "score": 0.5}\n'.encode()}),
            ({"a": [{"b": "text"}]}, "a.0.b", {"output.txt": b"text"}),
            ({"out": "data:image/png;base64,aGk="}, "out", {"output.png": b"hi"}),
            (["data:image/webp;base64,aGk=", "data:;base64,aG8="], "", {"output-0.webp": b"hi", "output-1.bin": b"ho"}),
            (["a", "data:;base64,aG8="], "", {"output.json": b'["a", "data:;base64,aG8="]\n'}),
            (None, "", {"output.json": b"null\n"}),
            ({"out": [None]}, "out", {"output.json": b"[null]\n"}),
            ({"out": 0}, "out", {"output.json": b"0\n"}),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert written(folder, json.dumps(value).encode(), answer=path) == expected


def test_a_body_becomes_a_file_and_an_empty_one_none(tmp_path: Path) -> None:
    assert written(tmp_path, b"x", "image/jpeg; q=1", name="big") == {"big.jpg": b"x"}
    (tmp_path / "big.jpg").unlink()
    assert written(tmp_path, b"", "image/jpeg") == {}


def test_null_is_no_result_where_the_answer_is_to_have_one_unless_files_were_put(tmp_path: Path) -> None:
    with pytest.raises(HandlerError, match=r"nothing at a\.0: it is null") as caught:
        written(tmp_path, b'{"a": [null]}', answer="a.0")
    assert (caught.value.reason, caught.value.retry) == ("server-answer", False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "put.png").write_bytes(b"put")
    assert written(tmp_path, b'{"a": [null]}', answer="a.0") == {"put.png": b"put"}


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        ({"status": "failed", "error": "CUDA out of\n memory"}, "prediction is failed: CUDA out of memory"),
        ({"status": "failed", "error": "x" * 1_000, "output": ["half"]}, f"failed: {'x' * 500}"),
        ({"status": "canceled"}, "prediction is canceled."),
    ],
)
def test_a_prediction_of_cog_that_failed_is_no_result_and_tried_again(
    tmp_path: Path, prediction: dict[str, Any], said: str
) -> None:
    body = json.dumps({"output": None, **prediction}).encode()
    (tmp_path / "put.png").write_bytes(b"of the half that was made")
    with pytest.raises(HandlerError) as caught:
        written(tmp_path, body, preset="cog")
    assert (caught.value.reason, caught.value.retry) == ("server-error", True)
    assert caught.value.message.endswith(said)


def test_what_an_answer_calls_its_status_means_nothing_without_cog(tmp_path: Path) -> None:
    body = b'{"status": "failed", "output": "text"}'
    assert written(tmp_path, body, answer="output") == {"output.txt": b"text"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "is none"),
        (b"[" * 100_000, "is none"),
        (b'"data:image/png;base64,???"', "not base64"),
        (json.dumps(["data:;base64,aG8="] * (MAX_OUTPUTS + 1)).encode(), "at most 64 are published"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, body: bytes, said: str) -> None:
    with pytest.raises(HandlerError, match=said):
        written(tmp_path, body)

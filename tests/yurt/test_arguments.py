"""Arguments travel as they are, and the same give the same bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from yurt import File
from yurt.arguments import MAX_FILES, BadArguments, decode, encode


def encoded(args: Sequence[object], kwargs: Mapping[str, object] | None = None) -> bytes:
    made = io.BytesIO()
    encode(made, args, kwargs or {})
    return made.getvalue()


def read(content: bytes, folder: Path) -> tuple[list[object], dict[str, object]]:
    (folder / "call.zip").write_bytes(content)
    return decode(folder / "call.zip", folder)


def test_values_and_files_travel(tmp_path: Path) -> None:
    photo = tmp_path / "a cat.jpg"
    photo.write_bytes(b"x" * 3_000_000)
    args, kwargs = read(
        encoded([1, File(photo), None, "\u00e9"], {"deep": {"a": [True]}, "other": File(photo)}), tmp_path
    )
    assert (args[0], args[2:], kwargs["deep"]) == (1, [None, "\u00e9"], {"a": [True]})
    for file in (args[1], kwargs["other"]):
        assert isinstance(file, File)
        assert (file.read_bytes(), file.key, file.content_type) == (b"x" * 3_000_000, "a cat.jpg", "image/jpeg")


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(b"x")
    first = encoded([File(photo), 1])
    photo.touch()
    assert encoded([File(photo), 1]) == first
    assert encoded([File(photo), 2]) != first


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", float("nan"), object(), {"a": {1}}])
def test_what_json_cannot_carry_is_refused_by_its_place(value: object) -> None:
    with pytest.raises(TypeError, match="argument 2 cannot travel"):
        encoded([1, value])
    with pytest.raises(TypeError, match="shade cannot travel"):
        encoded([], {"shade": value})


def test_too_much_is_refused(tmp_path: Path) -> None:
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"Use a yurt\.File"):
        encoded(["x" * (17 << 20)])
    with pytest.raises(ValueError, match=f"at most {MAX_FILES}"):
        encoded([File(photo)] * (MAX_FILES + 1))
    with pytest.raises(FileNotFoundError):
        encoded([File(tmp_path / "none.jpg")])


def archive(name: str, text: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr(name, text)
    return made.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        archive("other.json", "{}"),
        archive("call.json", "no json"),
        archive("call.json", "[]"),
        archive("call.json", '{"args": [{}], "kwargs": {}}'),
        archive(
            "call.json", '{"args": [{"file": {"member": "files/0", "key": "k", "content_type": "t"}}], "kwargs": {}}'
        ),
        archive("call.json", '{"args": 3, "kwargs": {}}'),
    ],
)
def test_what_is_no_call_says_so(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadArguments, match="no call of a function"):
        read(content, tmp_path)

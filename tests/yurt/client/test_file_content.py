"""Files that are uploaded: paths and open files, from any place, and what is no file of bytes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from yurt import YurtError
from yurt.client.file_content import FileContent


def test_a_path_is_opened_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "a b.txt"
    whole = b"0123456789" * 10_000  # longer than any buffer
    for given in (path, str(path)):
        path.write_bytes(whole)
        content = FileContent.opened(given)
        assert (content.name, content.size) == ("a b.txt", 100_000)
        assert (content.read(99_997, 3), content.read(0, 2)) == (b"789", b"01")
        path.write_bytes(whole[:90_000])
        with pytest.raises(YurtError, match=r"a b\.txt became shorter while it was uploaded"):
            content.read(50_000, 50_000)
        content.close()
        with pytest.raises(ValueError, match="closed"):
            content.read(0, 1)


def test_an_open_file_is_taken_whole_and_stays_open(tmp_path: Path) -> None:
    memory = io.BytesIO(b"0123")
    memory.read(2)
    content = FileContent.opened(memory)
    assert (content.name, content.size, content.read(0, 4)) == ("", 4, b"0123")
    content.close()
    assert not memory.closed
    with (tmp_path / "b.bin").open("w+b") as file:
        assert FileContent.opened(file).name == "b.bin"
        with os.fdopen(os.dup(file.fileno()), "rb") as numbered:
            assert FileContent.opened(numbered).name == ""


def test_what_is_no_file_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with (tmp_path / "a.txt").open() as text, pytest.raises(TypeError, match="mode 'rb'"):
        FileContent.opened(text).read(0, 4)  # type: ignore[arg-type]
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, pytest.raises(TypeError, match="cannot seek"):
        FileContent.opened(pipe)
    os.close(writing)

"""The files in a handler's output folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.handlers import OutputFile
from workers.handlers.outputs import content_type, every_file


def test_every_entry_is_listed_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.json").touch()
    (tmp_path / "a").mkdir()
    assert every_file(tmp_path) == (
        OutputFile("a", "application/octet-stream"),
        OutputFile("b.json", "application/json"),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("a.JPG", "image/jpeg"),
        ("a.mp4", "video/mp4"),
        ("a.tar.gz", "application/gzip"),
        ("a.svg.br", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_content_types(name: str, expected: str) -> None:
    assert content_type(name) == expected

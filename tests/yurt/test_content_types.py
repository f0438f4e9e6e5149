"""Content types by suffix, the same on every machine for what cameras write."""

from __future__ import annotations

import pytest

from yurt import File
from yurt.content_types import guessed_type


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("cat.jpg", "image/jpeg"),
        ("users/42/Cat.HEIC", "image/heic"),
        ("cat.webp", "image/webp"),
        ("cat.avif", "image/avif"),
        ("photos.tar.gz", "application/gzip"),
        ("cat.nonesuch", "application/octet-stream"),
        ("cat", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_a_type_is_guessed_by_the_suffix(name: str, content_type: str) -> None:
    assert guessed_type(name) == content_type
    assert File("x", key=name or "x").content_type == content_type

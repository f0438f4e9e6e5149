"""Facts from several blocks."""

from __future__ import annotations

import pytest

from workers.handlers.photo.metadata.model import MAX_CHARACTERS, PhotoMetadata, Position, name


def test_what_one_does_not_know_another_adds() -> None:
    first = PhotoMetadata(make="Acme", place=Position(0.0, 1.0))
    second = PhotoMetadata("2024-05-04T16:41:42", "Other", "One", place=Position(5.0, 6.0))
    assert first.or_else(second) == PhotoMetadata("2024-05-04T16:41:42", "Acme", "One", None, Position(0.0, 1.0))


@pytest.mark.parametrize(
    ("written", "expected"),
    [("  Acme  Ltd ", "Acme Ltd"), ("A\x1b[31m\nB\u202e", "A [31m B"), ("", None), ("\0\n", None), ("Ü", "Ü")],
)
def test_names_are_printable(written: str, expected: str | None) -> None:
    assert name(written) == expected


def test_names_are_bounded() -> None:
    assert name("x" * 5_000) == "x" * MAX_CHARACTERS

from __future__ import annotations

from infra.demo.lettering import lettering


def test_letters_are_dots_of_ink() -> None:
    image = lettering("T", 7)
    assert (image.width, image.height) == (6, 7)
    rows = [bytes(image.crop(0, row, 6, 1).write_to_memory()) for row in range(7)]
    assert rows[0] == b"\xff\xff\xff\xff\xff\0"
    assert set(rows[1:]) == {b"\0\0\xff\0\0\0"}


def test_grows_in_whole_dots() -> None:
    assert lettering("YURT", 22).height == 21
    assert lettering("YURT", 3).height == 7


def test_small_letters_are_capitals_and_strangers_are_gaps() -> None:
    assert lettering("yurt", 7).write_to_memory() == lettering("YURT", 7).write_to_memory()
    assert lettering("é", 7).max() == 0

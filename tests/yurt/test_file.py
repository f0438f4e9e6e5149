"""Files as parameters."""

from __future__ import annotations

from pathlib import Path

from yurt import File


def test_a_file_of_the_callers_and_one_that_is_an_object(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("h\u00e9", "utf-8")
    own = File(str(path))
    assert (own.key, own.etag, own.content_type) == ("note.txt", "", "text/plain")
    assert (own.read_text(), own.read_bytes(), Path(own)) == ("h\u00e9", "h\u00e9".encode(), path)
    given = File(path, "uploads/cat.webp", "abc")
    assert (given.key, given.etag, given.content_type) == ("uploads/cat.webp", "abc", "image/webp")
    assert File(path, "x").content_type == "application/octet-stream"
    assert File(path, "x", content_type="image/x").content_type == "image/x"

"""What a file is that is no photo."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.handlers.photo.foreign import description


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"plain words", "text"),
        (b"BMW and MZ are letters", "text"),
        (codecs.BOM_UTF8 + b'\n {"error": "not found"}', "JSON"),
        (b'{ "a": 1 }', "JSON"),
        (b"[1, 2]", "JSON"),
        (b"[draft] of a letter", "text"),
        (b"{curly} words", "text"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b"<?xml version='1.0'?><!-- drawn --><svg/>", "an SVG drawing"),
        (codecs.BOM_UTF16_LE + "<svg>".encode("utf-16-le"), "an SVG drawing"),
        (b"\n<!DOCTYPE html>", "a web page"),
        (b"<head><title>x", "a web page"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe", "a PostScript document"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),
        (b"\0\0\0\x20ftypqt  \0\0\2\0", "a video"),
        (b"\0\0\0\x08wide\0\1\0\0mdat", "a video"),
        (b"\0\0\0\x20ftypM4A \0\0\2\0", "a sound recording"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86", "a video"),
        (b"RIFF\0\1\0\0AVI LIST", "a video"),
        (b"RIFF\0\1\0\0WAVEfmt ", "a sound recording"),
        (b"ID3\x04\0", "a sound recording"),
        (b"BM\x36\x10\x0e\0\0\0\0\0\x36\0\0\0", "a BMP picture"),
        (b"MZ\x90\0\x03\0\xff", "a program"),
        (bytes(512), "nothing but zeros"),
        (b"\x00\x01\x02\xfe" * 20, "something else than a photo"),
    ],
)
def test_descriptions(head: bytes, expected: str) -> None:
    assert description(head) == expected


@given(st.binary(min_size=1, max_size=512))
def test_anything_has_one(head: bytes) -> None:
    assert description(head)

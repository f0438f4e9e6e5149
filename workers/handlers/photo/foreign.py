"""Says what a file is that is no photo, by its first bytes: for the sentence that its uploader reads."""

from __future__ import annotations

RAW = "a camera's raw photo of a kind that is not read: export it as JPEG"
_CANON_RAW = b"crx "
_VIDEO, _SOUND = "a video", "a sound recording"
_SIGNATURES = {
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript document",
    b"{\\rtf": "an RTF document",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a Microsoft Office document",
    b"8BPS": "a Photoshop document",
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"v/1\x01": "an OpenEXR picture",
    b"#?RADIANCE": "a Radiance HDR picture",
    b"\0\0\x01\0": "an icon",
    b"gimp xcf": "a GIMP picture",
    b"qoif": "a QOI picture",
    b"FOVb": RAW,
    b"\0MRM": RAW,
    b"II\x1a\0\0\0HEAPCCDR": RAW,
    b"\x1a\x45\xdf\xa3": _VIDEO,
    b"FLV\x01": _VIDEO,
    b"\0\0\x01\xba": _VIDEO,
    b"\0\0\x01\xb3": _VIDEO,
    b"OggS": f"{_VIDEO} or {_SOUND}",
    b"0&\xb2u\x8ef\xcf\x11": f"{_VIDEO} or {_SOUND}",
    b"ID3": _SOUND,
    b"fLaC": _SOUND,
    b"\x7fELF": "a program",
    b"\xcf\xfa\xed\xfe": "a program",
}
_RIFF = {b"AVI ": _VIDEO, b"WAVE": _SOUND}
_ISO_MEDIA = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"pnot"})
"""Types of the first box (ISO 14496-12); QuickTime's files may begin with others than ``ftyp``."""
_SOUND_BRANDS = frozenset({b"M4A ", b"M4B ", b"F4A "})
_MARKUP = {
    b"<svg": "an SVG drawing",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML document",
}
_PAGE_BEGINS = (b"<head", b"<body", b"<title", b"<script", b"<meta", b"<div", b"<p>", b"<h1")
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def description(head: bytes) -> str:
    """Return a noun phrase for the file that begins with ``head``."""
    for magic, what in _SIGNATURES.items():
        if head.startswith(magic):
            return what
    if text := _text(head):
        return _kind_of_text(text)
    return _kind_of_media(head) or _kind_of_bytes(head)


def _kind_of_media(head: bytes) -> str | None:
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] not in _ISO_MEDIA:
        return None
    if head[8:12] == _CANON_RAW:
        return RAW
    return _SOUND if head[8:12] in _SOUND_BRANDS else _VIDEO


def _kind_of_bytes(head: bytes) -> str:
    if not any(head):
        return "nothing but zeros"
    # Two letters begin many files: the next bytes decide (reserved fields of a BMP; the pages of a program).
    if head[:2] == b"BM" and not any(head[6:10]):
        return "a BMP picture"
    if head[:2] == b"MZ":
        return "a program"
    return "something else than a photo"


def _kind_of_text(text: str) -> str:
    lowered = text.strip().lower().encode()
    for tag, what in _MARKUP.items():
        if tag in lowered:
            return what
    if lowered.startswith(_PAGE_BEGINS):
        return "a web page"
    return "JSON" if _is_json(lowered) else "text"


def _is_json(text: bytes) -> bool:
    """An object or a list: its first character, and one of those that may follow it (RFC 8259)."""
    first, second = text[:1], text[1:].lstrip()[:1]
    return (first == b"{" and second in b'"}') or (first == b"[" and second in b'[{"]-0123456789tfn')


def _text(head: bytes) -> str | None:
    """The text, or None where it is none. The last character may have been cut by where reading stopped."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "ignore")
    text = head.decode(errors="ignore")
    is_text = len(text.encode()) >= len(head) - 3 and all(c.isprintable() or c.isspace() for c in text)
    return text if is_text else None

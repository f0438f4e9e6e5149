"""EXIF, XMP and IPTC written by hand, as no library would write them, and files that hold them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from tests.workers.handlers.photo.samples import quadrants

ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL, DOUBLE = 2, 3, 4, 5, 7, 10, 12
MAKE, MODEL, XMP, EXIF, GPS, IPTC = 271, 272, 700, 34665, 34853, 33723
ORIGINAL, DIGITIZED, LENS = 36867, 36868, 42036
OFFSET, OFFSET_ORIGINAL, OFFSET_DIGITIZED = 36880, 36881, 36882
SUB_ORIGINAL, SUB_DIGITIZED = 37521, 37522


@dataclass(frozen=True)
class Tag:
    """A value with its type, and a count where it is to be another than the true one."""

    kind: int
    content: bytes
    count: int


def text(value: str | bytes, kind: int = ASCII) -> Tag:
    """With a zero behind it, as EXIF wants it."""
    content = (value if isinstance(value, bytes) else value.encode()) + b"\0"
    return Tag(kind, content, len(content))


def rationals(*pairs: tuple[int, int], order: str = "<") -> Tag:
    """Fractions, signed where one of them is below zero."""
    is_signed = any(number < 0 for pair in pairs for number in pair)
    content = b"".join(struct.pack(order + ("ii" if is_signed else "II"), *pair) for pair in pairs)
    return Tag(SRATIONAL if is_signed else RATIONAL, content, len(pairs))


def degrees(*parts: float, order: str = "<") -> Tag:
    """Degrees, minutes and seconds in hundred-thousandths."""
    return rationals(*((round(part * 100_000), 100_000) for part in parts), order=order)


def number(value: int, order: str = "<") -> Tag:
    """One whole number of 32 bits."""
    return Tag(LONG, struct.pack(order + "I", value), 1)


Tags = Mapping[int, Tag]


def exif(main: Tags, below: Tags | None = None, gps: Tags | None = None, order: str = "<", following: int = 0) -> bytes:
    """A TIFF header and its directories: the image's, that of EXIF, and that of GPS."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    places = {EXIF: 0, GPS: 0}
    wanted = {tag: tags for tag, tags in ((EXIF, below), (GPS, gps)) if tags is not None}
    for _ in range(2):
        pointers = {tag: number(places[tag], order) for tag in wanted}
        content = _directory(8, {**main, **pointers}, order, following)
        for tag, tags in wanted.items():
            places[tag] = 8 + len(content)
            content += _directory(places[tag], tags, order)
    return head + content


def _directory(at: int, tags: Tags, order: str, following: int = 0) -> bytes:
    data_at, data = at + 6 + 12 * len(tags), b""
    entries = struct.pack(order + "H", len(tags))
    for tag, value in sorted(tags.items()):
        field = value.content.ljust(4, b"\0")
        if len(value.content) > 4:
            field = struct.pack(order + "I", data_at + len(data))
            data += value.content + bytes(len(value.content) % 2)
        entries += struct.pack(order + "HHI", tag, value.kind, value.count) + field
    return entries + struct.pack(order + "I", following) + data


def taken(time: str, **tags: str) -> bytes:
    """An EXIF block with an original time, and other texts by their names."""
    names = {"offset": OFFSET, "offset_original": OFFSET_ORIGINAL, "sub_original": SUB_ORIGINAL, "digitized": DIGITIZED}
    names |= {"offset_digitized": OFFSET_DIGITIZED, "sub_digitized": SUB_DIGITIZED}
    return exif({}, {ORIGINAL: text(time), **{names[name]: text(value) for name, value in tags.items()}})


_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "exifEX": "http://cipa.jp/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
}


def xmp(content: str = "", **attributes: str) -> bytes:
    """A packet with properties as attributes (``exif_GPSLatitude``), as elements in ``content``, or both."""
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items())
    values = " ".join(f'{name.replace("_", ":")}="{value}"' for name, value in attributes.items())
    return (
        f'<?xpacket begin="\N{ZERO WIDTH NO-BREAK SPACE}" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {spaces}><rdf:Description rdf:about="" {values}>{content}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def dataset(number: int, value: bytes) -> bytes:
    """One of IPTC's, record 2."""
    return bytes((0x1C, 2, number)) + struct.pack(">H", len(value)) + value


def resource(content: bytes, kind: int = 0x0404, name: bytes = b"") -> bytes:
    """One of Photoshop's."""
    named = bytes([len(name)]) + name
    head = b"8BIM" + struct.pack(">H", kind) + named + bytes(len(named) % 2)
    return head + struct.pack(">I", len(content)) + content + bytes(len(content) % 2)


def segment(marker: int, content: bytes) -> bytes:
    """One of a JPEG's."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def jpeg(*segments: bytes) -> bytes:
    """A JPEG with these segments before all others."""
    whole = bytes(quadrants().jpegsave_buffer(keep="none"))
    return whole[:2] + b"".join(segments) + whole[2:]


def exif_segment(block: bytes) -> bytes:
    """``APP1`` with EXIF."""
    return segment(0xE1, b"Exif\0\0" + block)


def xmp_segment(packet: bytes) -> bytes:
    """``APP1`` with XMP."""
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)


def photoshop_segment(resources: bytes) -> bytes:
    """``APP13``."""
    return segment(0xED, b"Photoshop 3.0\0" + resources)

"""Reads XMP (ISO 16684-1): properties of a photo, as RDF in XML."""

from __future__ import annotations

import codecs
import contextlib
from xml.parsers import expat

from workers.handlers.photo.metadata.model import PhotoMetadata, Position, name
from workers.handlers.photo.metadata.places import altitude, angle, numbers, place
from workers.handlers.photo.metadata.timestamps import capture_time

MAX_BYTES = 4 << 20
"""Of a packet: what is longer holds an edit's history, behind the properties that are read."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_EXIF_EX = "http://cipa.jp/exif/1.0/"
_TIFF = "http://ns.adobe.com/tiff/1.0/"
_AUX = "http://ns.adobe.com/exif/1.0/aux/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_BASIC = "http://ns.adobe.com/xap/1.0/"
_PREFIXES = {
    b"rdf": _RDF,
    b"exif": _EXIF,
    b"exifEX": _EXIF_EX,
    b"tiff": _TIFF,
    b"aux": _AUX,
    b"photoshop": _PHOTOSHOP,
    b"xmp": _BASIC,
    b"xap": _BASIC,
    b"dc": "http://purl.org/dc/elements/1.1/",
    b"xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    b"xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    b"crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
}
"""As the specifications name them."""
_TIMES = (
    (f"{_EXIF} DateTimeOriginal", f"{_EXIF} SubSecTimeOriginal", f"{_EXIF_EX} OffsetTimeOriginal"),
    (f"{_PHOTOSHOP} DateCreated", "", ""),
    (f"{_EXIF} DateTimeDigitized", f"{_EXIF} SubSecTimeDigitized", f"{_EXIF_EX} OffsetTimeDigitized"),
    (f"{_BASIC} CreateDate", "", ""),
)
"""A time, its fraction of a second and its offset, where a program has left them outside of it."""
_MAX_VALUE = 2_000
_MAX_DEPTH = 64
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_FIRST_CHARACTERS = {b"<\0\0\0": "utf-32-le", b"\0\0\0<": "utf-32-be", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}


def read(packet: bytes) -> PhotoMetadata:
    """Return the facts of a packet; of a damaged one, those before the damage."""
    values = properties(packet)
    times = (
        capture_time(values.get(time, ""), values.get(part, ""), _offsets(values, offset))
        for time, part, offset in _TIMES
    )
    return PhotoMetadata(
        next((time for time in times if time), None),
        name(values.get(f"{_TIFF} Make", "")),
        name(values.get(f"{_TIFF} Model", "")),
        name(values.get(f"{_EXIF_EX} LensModel", "") or values.get(f"{_AUX} Lens", "")),
        _place(values),
    )


def _offsets(values: dict[str, str], own: str) -> tuple[str, ...]:
    names = (own, own.replace(_EXIF_EX, _EXIF), f"{_EXIF_EX} OffsetTime", f"{_EXIF} OffsetTime") if own else ()
    return tuple(values.get(name, "") for name in names)


def _place(values: dict[str, str]) -> Position | None:
    latitude, longitude = (
        angle(values.get(f"{_EXIF} {axis}", ""), values.get(f"{_EXIF} {axis}Ref", ""))
        for axis in ("GPSLatitude", "GPSLongitude")
    )
    is_below = values.get(f"{_EXIF} GPSAltitudeRef", "").strip() in ("1", "3")
    return place(latitude, longitude, altitude(numbers(values.get(f"{_EXIF} GPSAltitude", "")), is_below=is_below))


def properties(packet: bytes) -> dict[str, str]:
    """Return the simple properties, and the first items of lists, by namespace and name with a space between them.

    A document type is refused, and with it every entity: it has no use here but attacks.
    """
    reader = _Properties()
    parser = expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.document_type
    # What was read before is kept: many packets are cut off, or have something behind their end.
    with contextlib.suppress(expat.ExpatError, _RefusedError):
        parser.Parse(_declared(_as_utf_8(packet[:MAX_BYTES])), True)
    return reader.values


class _RefusedError(Exception):
    """A document that is not parsed any further."""


class _Properties:
    """Collects what stands directly below ``rdf:RDF/rdf:Description``: deeper are other pictures' properties."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._path: list[str] = []
        self._text = ""

    def start(self, element: str, attributes: dict[str, str]) -> None:
        self._path.append(element)
        if len(self._path) > _MAX_DEPTH:
            raise _RefusedError
        self._text = ""
        if self._path[-2:] == [f"{_RDF} RDF", f"{_RDF} Description"]:
            for attribute, value in attributes.items():
                self._put(attribute, value)

    def end(self, _: str) -> None:
        if owner := self._property():
            self._put(owner, self._text)
        self._path.pop()
        self._text = ""

    def text(self, characters: str) -> None:
        if len(self._text) < _MAX_VALUE:
            self._text += characters

    def document_type(self, *_: object) -> None:
        raise _RefusedError

    def _property(self) -> str | None:
        """The property whose value ends here: the element itself, or the one that this is an item of."""
        path = self._path
        at = next((n for n, element in enumerate(path) if element == f"{_RDF} Description"), len(path)) + 1
        if at >= len(path) or path[at - 2] != f"{_RDF} RDF":
            return None
        return path[at] if all(element.startswith(f"{_RDF} ") for element in path[at + 1 :]) else None

    def _put(self, key: str, value: str) -> None:
        if value.strip():
            self.values.setdefault(key, value[:_MAX_VALUE].strip())


def _declared(packet: bytes) -> bytes:
    """Declare the usual prefixes that a program has used without doing so: XML ends at them."""
    missing = [
        b' xmlns:%b="%b"' % (prefix, uri.encode())
        for prefix, uri in _PREFIXES.items()
        if b"xmlns:%b=" % prefix not in packet and prefix + b":" in packet
    ]
    return packet.replace(b"<rdf:RDF", b"<rdf:RDF" + b"".join(missing), 1)


def _as_utf_8(packet: bytes) -> bytes:
    packet = packet.lstrip(b" \t\r\n") if packet[:1] != b"\0" else packet
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if packet.startswith(mark):
            return packet[len(mark) :].decode(encoding, "replace").encode()
    encoding = next((name for start, name in _FIRST_CHARACTERS.items() if packet.startswith(start)), "utf-8")
    if encoding == "utf-8":
        packet = packet.lstrip(b"\0")
    # libexpat stops at a byte that is no UTF-8; many programs write Latin-1 into one property or another.
    return packet.decode(encoding, "replace").encode()

"""Where files of each format have their metadata."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.handlers.photo.metadata_samples import (
    IPTC,
    UNDEFINED,
    XMP,
    Tag,
    dataset,
    exif,
    exif_segment,
    jpeg,
    photoshop_segment,
    resource,
    segment,
    taken,
    xmp,
    xmp_segment,
)
from tests.workers.handlers.photo.png_samples import chunk, png, with_chunks
from tests.workers.handlers.photo.samples import quadrants
from workers.handlers.photo.formats import Format
from workers.handlers.photo.metadata.blocks import MAX_BYTES, MetadataBlock, Standard, find

EXIF_BLOCK, XMP_PACKET, DATASETS = taken("2024:05:04 16:41:42"), xmp(tiff_Make="Acme"), dataset(55, b"20191224")
EXIF_FOUND = MetadataBlock(Standard.EXIF, EXIF_BLOCK)
XMP_FOUND = MetadataBlock(Standard.XMP, XMP_PACKET)
IPTC_FOUND = MetadataBlock(Standard.IPTC, DATASETS)


def found(content: bytes, kind: Format) -> list[MetadataBlock]:
    return find(io.BytesIO(content), kind)


def test_jpeg() -> None:
    resources = resource(b"x" * 90, 0x040C) + resource(DATASETS)
    parts = [photoshop_segment(resources[:50]), photoshop_segment(resources[50:])]
    content = jpeg(b"\xff\xff\xff" + exif_segment(EXIF_BLOCK), xmp_segment(XMP_PACKET), *parts)
    assert found(content, Format.JPEG) == [
        MetadataBlock(Standard.EXIF, b"Exif\0\0" + EXIF_BLOCK),
        XMP_FOUND,
        IPTC_FOUND,
    ]


def test_other_segments_of_a_jpeg_are_passed_over() -> None:
    extended = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + XMP_PACKET)
    assert found(jpeg(extended, segment(0xED, b"Adobe_CM\0"), segment(0xFE, b"Exif\0\0")), Format.JPEG) == []


def raw_profile(name: str, content: bytes) -> bytes:
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{name}\n{len(content):8}\n{lines}\n".encode()


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        (b"eXIf", EXIF_BLOCK, EXIF_FOUND),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP_PACKET, XMP_FOUND),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0x\0" + zlib.compress(XMP_PACKET), XMP_FOUND),
        (b"tEXt", b"Raw profile type exif\0" + raw_profile("exif", EXIF_BLOCK), EXIF_FOUND),
        (b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(raw_profile("APP1", EXIF_BLOCK)), EXIF_FOUND),
        (b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(raw_profile("xmp", XMP_PACKET)), XMP_FOUND),
        (b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(raw_profile("iptc", resource(DATASETS))), IPTC_FOUND),
        (
            b"zTXt",
            b"Raw profile type APP1\0\0"
            + zlib.compress(raw_profile("app1", b"http://ns.adobe.com/xap/1.0/\0" + XMP_PACKET)),
            XMP_FOUND,
        ),
        (b"zTXt", b"Raw profile type exif\0\0no zlib", MetadataBlock(Standard.EXIF, b"")),
        (b"tEXt", b"Comment\0Raw profile type exif", None),
        (b"tEXt", b"Raw profile type icc\0" + raw_profile("icc", b"x"), None),
    ],
)
def test_png(kind: bytes, content: bytes, expected: MetadataBlock | None, behind: bool) -> None:
    plain = png(quadrants())
    whole = plain[:-12] + chunk(kind, content) + plain[-12:] if behind else with_chunks(plain, {kind: content})
    assert found(whole, Format.PNG) == ([expected] if expected else [])


def test_a_text_that_inflates_without_end_is_bounded() -> None:
    bomb = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(4 * MAX_BYTES))
    (block,) = found(with_chunks(png(quadrants()), {b"iTXt": bomb}), Format.PNG)
    assert len(block.content) == MAX_BYTES


def test_webp() -> None:
    parts = b"".join(
        kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        for kind, content in ((b"odd ", b"odd"), (b"EXIF", EXIF_BLOCK), (b"XMP ", XMP_PACKET))
    )
    plain = bytes(quadrants().webpsave_buffer(keep="none"))
    assert found(plain + parts, Format.WEBP) == [EXIF_FOUND, XMP_FOUND]


def test_gif() -> None:
    plain = bytes(quadrants().gifsave_buffer(keep="none"))
    extension = b"\x21\xff\x0bXMP DataXMP" + XMP_PACKET + b"\1" + bytes(range(255, -1, -1)) + b"\0"
    (block,) = found(plain[:-1] + extension + plain[-1:], Format.GIF)
    assert block.standard is Standard.XMP
    assert block.content.startswith(XMP_PACKET)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff(order: str) -> None:
    content = exif(
        {XMP: Tag(1, XMP_PACKET, len(XMP_PACKET)), IPTC: Tag(UNDEFINED, DATASETS, len(DATASETS))}, order=order
    )
    assert found(content, Format.TIFF) == [XMP_FOUND, IPTC_FOUND]


def test_no_more_blocks_than_a_file_has_use_for() -> None:
    assert len(found(jpeg(*[exif_segment(EXIF_BLOCK)] * 500), Format.JPEG)) == 16


@given(st.sampled_from(list(Format)), st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8", b"II*\0", b"x" * 12]))
def test_any_bytes_have_blocks_or_none(kind: Format, content: bytes, head: bytes) -> None:
    assert isinstance(found(head + content, kind), list)

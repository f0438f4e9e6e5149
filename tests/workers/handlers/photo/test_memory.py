"""What decoding takes, and what there is."""

from __future__ import annotations

import resource
import sys

import pytest
import pyvips

from tests.workers.handlers.photo.samples import solid
from workers.handlers.photo import memory
from workers.handlers.photo.formats import Format

MEGAPIXEL = solid((1, 2, 3), 1_000, 1_000)


def tagged(**fields: int | str) -> pyvips.Image:
    image = MEGAPIXEL.copy()
    for name, value in fields.items():
        kind = pyvips.GValue.gint_type if isinstance(value, int) else pyvips.GValue.gstr_type
        image.set_type(kind, name.replace("_", "-"), value)
    return image


@pytest.mark.parametrize("kind", [Format.JPEG, Format.PNG, Format.TIFF])
def test_row_by_row(kind: Format) -> None:
    assert memory.needed(kind, MEGAPIXEL) == 0


@pytest.mark.parametrize("kind", [Format.HEIC, Format.AVIF, Format.WEBP, Format.GIF])
def test_as_a_whole(kind: Format) -> None:
    assert memory.needed(kind, MEGAPIXEL) > 3_000_000


def test_interlaced() -> None:
    assert memory.needed(Format.PNG, tagged(interlaced=1)) == 3_000_000
    assert memory.needed(Format.JPEG, tagged(interlaced=1)) == 6_000_000
    assert memory.needed(Format.JPEG, tagged(interlaced=1, jpeg_chroma_subsample="4:2:0")) == 3_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is enforced on Linux")
def test_available_is_what_the_limit_leaves() -> None:
    unlimited = memory.available()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, hard))
    try:
        assert 32 << 30 < memory.available() < 64 << 30 < unlimited
        # Less than is mapped already: no allocation follows that would fail.
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, hard))
        assert memory.available() >= 96 << 20
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

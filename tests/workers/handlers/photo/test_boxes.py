"""Following the boxes of HEIF files to the picture that is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.handlers.photo.heif_samples import ALPHA_HEIC, AVIF_SEQUENCE, HEIC, ODD_HEIC, PQ_HEIC
from tests.workers.handlers.photo.samples import quadrants
from workers.handlers.photo.boxes import CodedImage, coded_image
from workers.handlers.photo.colour_encoding import CodePoints


def read(folder: Path, content: bytes) -> CodedImage | None:
    (folder / "input").write_bytes(content)
    return coded_image(folder / "input")


def test_the_codec_of_the_primary_item(tmp_path: Path) -> None:
    avif = bytes(quadrants().heifsave_buffer(compression="av1"))
    codings = [
        image and image.coding for image in (read(tmp_path, HEIC), read(tmp_path, ALPHA_HEIC), read(tmp_path, avif))
    ]
    assert codings == [b"hvc1", b"hvc1", b"av01"]


def test_code_points_of_the_primary_item(tmp_path: Path) -> None:
    image = read(tmp_path, PQ_HEIC)
    assert image == CodedImage(b"hvc1", CodePoints(9, 16), has_profile=False, is_sequence=False)


def test_a_file_with_a_profile_and_without_code_points(tmp_path: Path) -> None:
    tagged = quadrants().icc_transform("p3", input_profile="srgb")
    image = read(tmp_path, bytes(tagged.heifsave_buffer(compression="av1")))
    assert image is not None
    assert image.has_profile


def test_a_sequence_without_items(tmp_path: Path) -> None:
    # A box of another type is passed over: what is left is the track.
    image = read(tmp_path, AVIF_SEQUENCE.replace(b"meta", b"free", 1))
    assert image is not None
    assert (image.coding, image.is_sequence) == (b"av01", True)


@pytest.mark.parametrize("content", [b"", b"\0" * 40, HEIC[:40], HEIC[:200], b"\xff" * 100], ids=str)
def test_what_cannot_be_followed(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) is None


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    for at in range(0, len(ODD_HEIC), 3):
        read(tmp_path, ODD_HEIC[:at] + b"\xff" + ODD_HEIC[at + 1 :])

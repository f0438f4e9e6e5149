"""The photo handler, from a file to what is published."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import pyvips
from pydantic import JsonValue

from tests.workers.checks.graphs import write_model
from tests.workers.handlers.photo.heif_samples import TURNED_HEIC
from tests.workers.handlers.photo.samples import (
    BLUE,
    CAMERA,
    CORNERS,
    GREEN,
    PLACE,
    RED,
    YELLOW,
    corners,
    nearest,
    png_bomb,
    quadrants,
    solid,
    with_fields,
)
from tests.workers.handlers.photo.tiff_samples import Image, Value, jpeg, sensor, thumbnail, tiff
from workers.handlers import HandlerError, Job, OutputFile, Result
from workers.handlers.photo.document import json_schema
from workers.handlers.photo.handler import handle
from workers.handlers.photo.sharpness import sharpness

Make = Callable[..., Job]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write an image in a format and make a job of it."""

    def job(image: pyvips.Image | bytes, suffix: str, options: dict[str, JsonValue] | None = None, **save: Any) -> Job:
        path = tmp_path / f"input{suffix}"
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            image.write_to_file(str(path), **save)
        (tmp_path / "output [1]").mkdir(exist_ok=True)
        return Job(path, tmp_path / "output [1]", f"uploads/photo{suffix}", "e", options or {})

    return job


def picture(job: Job, size: int) -> pyvips.Image:
    return pyvips.Image.new_from_buffer((job.output / f"{size}.webp").read_bytes(), "")


def metadata(job: Job) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((job.output / "metadata.json").read_text())
    return fields


def refusal(job: Job) -> HandlerError:
    with pytest.raises(HandlerError) as raised:
        handle(job)
    assert raised.value.retry is False
    return raised.value


# ── outputs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_published(make: Make) -> None:
    job = make(quadrants(2400, 1600), ".jpg")
    result = handle(job)
    images = tuple(OutputFile(f"{size}.webp", "image/webp", "max-age=300") for size in (256, 512, 1600))
    assert result.outputs == (*images, OutputFile("metadata.json", "application/json", "max-age=300"))
    sizes = {size: (picture(job, size).width, picture(job, size).height) for size in (256, 512, 1600)}
    assert sizes == {256: (256, 171), 512: (512, 341), 1600: (1600, 1067)}
    assert all(corners(picture(job, size)) == list(CORNERS) for size in sizes)
    assert result.labels == {name: metadata(job)[name] for name in result.labels}


def test_options(make: Make) -> None:
    job = make(quadrants(), ".png", {"sizes": [64, 32], "quality": 10, "effort": 0, "cache_control": "no-store"})
    result = handle(job)
    assert [(file.name, file.cache_control) for file in result.outputs] == [
        ("64.webp", "no-store"),
        ("32.webp", "no-store"),
        ("metadata.json", "no-store"),
    ]
    assert picture(job, 32).width == 32


def test_never_enlarged(make: Make) -> None:
    job = make(quadrants(300, 200), ".png")
    handle(job)
    assert [picture(job, size).width for size in (256, 512, 1600)] == [256, 300, 300]


@pytest.mark.parametrize("size", [(1, 1), (1, 3_000), (3_000, 1)])
def test_extreme_shapes(make: Make, size: tuple[int, int]) -> None:
    job = make(solid(RED, *size), ".png")
    handle(job)
    assert (metadata(job)["width"], metadata(job)["height"]) == size


# ── orientation ──────────────────────────────────────────────────────────────────────────────────────────────────

SHOWN = {
    1: (RED, GREEN, BLUE, YELLOW),
    2: (GREEN, RED, YELLOW, BLUE),
    3: (YELLOW, BLUE, GREEN, RED),
    4: (BLUE, YELLOW, RED, GREEN),
    5: (RED, BLUE, GREEN, YELLOW),
    6: (BLUE, RED, YELLOW, GREEN),
    7: (YELLOW, GREEN, BLUE, RED),
    8: (GREEN, YELLOW, RED, BLUE),
}
"""What a viewer has at top left, top right, bottom left, bottom right; EXIF 2.3, tag 274."""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(make: Make, orientation: int) -> None:
    job = make(with_fields(quadrants(1200, 800), orientation=orientation), ".jpg", Q=95)
    handle(job)
    wide = orientation < 5
    for size in (256, 512, 1600):
        image = picture(job, size)
        assert corners(image) == list(SHOWN[orientation])
        assert (image.width > image.height) == wide
        assert image.get_typeof("orientation") == 0
    shown = (1200, 800) if wide else (800, 1200)
    assert (metadata(job)["width"], metadata(job)["height"]) == shown
    assert metadata(job)["orientation"] == orientation


# ── formats and colours ──────────────────────────────────────────────────────────────────────────────────────────


def assert_colours(job: Job, within: float = 12) -> None:
    """The red corner is the very red, not only the nearest to it."""
    pixel = picture(job, 1600)(10, 10)[:3]
    assert all(abs(a - b) <= within for a, b in zip(pixel, RED, strict=True)), pixel
    assert corners(picture(job, 1600)) == list(CORNERS)


@pytest.mark.parametrize(
    ("suffix", "save", "expected"),
    [
        (".jpg", {"Q": 95}, "jpeg"),
        (".jpg", {"Q": 95, "interlace": True}, "jpeg"),
        (".png", {}, "png"),
        (".png", {"interlace": True}, "png"),
        (".png", {"palette": True}, "png"),
        (".webp", {"Q": 95}, "webp"),
        (".gif", {}, "gif"),
        (".avif", {"Q": 90, "effort": 0}, "avif"),
        (".tif", {"compression": "lzw", "tile": True, "pyramid": True, "subifd": True}, "tiff"),
    ],
)
def test_formats(make: Make, suffix: str, save: dict[str, Any], expected: str) -> None:
    job = make(quadrants(600, 400), suffix, **save)
    handle(job)
    assert metadata(job)["format"] == expected
    assert metadata(job)["pages"] == 1
    assert_colours(job)


@pytest.mark.parametrize("profile", ["p3", "srgb"])
def test_an_embedded_profile_is_honoured(make: Make, profile: str) -> None:
    image = quadrants(600, 400).icc_transform(profile, input_profile="srgb")
    job = make(image, ".png", profile=profile)
    handle(job)
    assert_colours(job)


@pytest.mark.parametrize("embedded", [True, False])
def test_cmyk(make: Make, embedded: bool) -> None:
    image = quadrants(600, 400).icc_transform("cmyk", input_profile="srgb")
    job = make(image, ".jpg", Q=95, **({"profile": "cmyk"} if embedded else {"keep": "none"}))
    assert pyvips.Image.new_from_file(str(job.input)).interpretation == "cmyk"
    handle(job)
    assert_colours(job, within=40)  # ink cannot show these colours
    assert picture(job, 1600).bands == 3


@pytest.mark.parametrize("interpretation", ["rgb16", "lab", "labs", "scrgb", "xyz"])
def test_other_colour_spaces(make: Make, interpretation: str) -> None:
    job = make(quadrants(600, 400).colourspace(interpretation), ".tif")
    handle(job)
    assert_colours(job)


def test_16_bit_png_with_profile_and_alpha(make: Make) -> None:
    image = quadrants(600, 400).colourspace("rgb16").bandjoin(0x8080).copy(interpretation="rgb16")
    job = make(image, ".png", profile="srgb")
    handle(job)
    assert_colours(job)
    assert abs(picture(job, 1600)(5, 5)[3] - 128) <= 2


def test_channels_beyond_alpha_are_dropped(make: Make) -> None:
    extra = quadrants(600, 400).bandjoin([255, 7, 9])
    job = make(extra, ".tif")
    handle(job)
    assert_colours(job)
    assert picture(job, 256).bands <= 4


def test_grey(make: Make) -> None:
    job = make(solid((200,), 300, 200).copy(interpretation="b-w"), ".png")
    handle(job)
    assert all(abs(band - 200) <= 3 for band in picture(job, 512)(9, 9))
    assert metadata(job)["dominant_colour"] == "#c8c8c8"


def test_alpha_is_kept_and_does_not_bleed(make: Make) -> None:
    clear = solid((0, 0, 255, 0), 600, 600)
    job = make(clear.insert(solid((255, 0, 0, 255), 300, 600), 0, 0), ".png")
    handle(job)
    image = picture(job, 256)
    assert metadata(job)["has_alpha"] is True
    assert image.bands == 4
    assert image(30, 128)[3] == 255
    assert image(230, 128)[3] == 0
    assert nearest(image(126, 128)) == RED


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_the_first_frame_of_an_animation(make: Make, suffix: str) -> None:
    frames = pyvips.Image.arrayjoin([quadrants(), quadrants().invert()], across=1)
    job = make(with_fields(frames, page_height=80), suffix)
    handle(job)
    assert (metadata(job)["pages"], metadata(job)["height"]) == (2, 80)
    assert corners(picture(job, 256)) == list(CORNERS)


# ── metadata ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_pictures_carry_nothing_of_the_camera(make: Make, suffix: str) -> None:
    tagged = with_fields(quadrants(600, 400), **CAMERA, **PLACE)
    tagged.set_type(pyvips.GValue.blob_type, "xmp-data", b"<x:xmpmeta>secret</x:xmpmeta>")
    job = make(tagged, suffix, profile="p3")
    assert b"Canon" in job.input.read_bytes()
    result = handle(job)
    for file in result.outputs[:-1]:
        image = pyvips.Image.new_from_buffer((job.output / file.name).read_bytes(), "")
        assert [name for name in image.get_fields() if name.startswith(("exif", "xmp", "icc", "iptc"))] == []
        content = (job.output / file.name).read_bytes()
        assert not any(word in content for word in (b"Canon", b"secret", b"EXIF", b"XMP ", b"ICCP"))


def test_where_it_was_taken_only_when_asked(make: Make) -> None:
    tagged = with_fields(quadrants(), **CAMERA, **PLACE)
    job = make(tagged, ".jpg")
    result = handle(job)
    assert "gps" not in metadata(job)
    assert "151.2" not in (job.output / "metadata.json").read_text() + str(result.labels)
    job = make(tagged, ".jpg", {"gps": True})
    result = handle(job)
    assert metadata(job)["gps"]["longitude"] == 151.2
    assert "151.2" not in str(result.labels)


def test_the_whole_of_metadata(make: Make) -> None:
    job = make(with_fields(solid(RED, 90, 60), **CAMERA, orientation=6), ".jpg", Q=100)
    handle(job)
    fields = metadata(job)
    assert len(base64.b64decode(fields.pop("thumbhash"))) >= 20
    colour = fields.pop("dominant_colour")
    assert nearest([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) == RED
    assert fields == {
        "width": 60,
        "height": 90,
        "format": "jpeg",
        "captured_at": "2023-05-15T10:30:00+02:00",
        "orientation": 6,
        "has_alpha": False,
        "pages": 1,
        "salvaged": False,
        "camera": {"make": "Canon (Japan) Inc", "model": "EOS R5", "lens": "RF 50mm F1.2"},
    }


def test_a_heic_of_a_phone(make: Make) -> None:
    job = make(TURNED_HEIC, ".heic")
    handle(job)
    fields = metadata(job)
    assert (fields["width"], fields["height"], fields["format"], fields["orientation"]) == (80, 120, "heic", 1)
    assert fields["camera"]["make"] == "Acme"
    assert corners(picture(job, 256)) == [BLUE, RED, YELLOW, GREEN]


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_decompression_bomb_is_refused_by_its_header(make: Make, tmp_path: Path) -> None:
    job = make(b"", ".png")
    png_bomb(job.input, 50_000, 50_000)
    assert job.input.stat().st_size < 1_000_000
    error = refusal(job)
    assert error.reason == "too-large"
    assert error.message == (
        "The picture has 50,000 × 50,000 pixels (2,500.0 megapixels): at most 268.4 megapixels are read."
    )


def test_too_many_pages(make: Make) -> None:
    frames = pyvips.Image.arrayjoin([quadrants(), quadrants().invert()], across=1)
    job = make(with_fields(frames, page_height=80), ".gif", {"max_pages": 1})
    assert "2 pages: at most 1" in refusal(job).message


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".avif", ".tif"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
def test_cut_off(make: Make, suffix: str, kept: float) -> None:
    whole = make(quadrants(600, 400), suffix, keep="none").input.read_bytes()
    error = refusal(make(whole[: int(len(whole) * kept)], suffix))
    assert error.reason == "unreadable"
    assert error.message.startswith("The file is cut off: ")


def test_a_progressive_jpeg_cut_off(make: Make) -> None:
    whole = make(quadrants(600, 400), ".jpg", interlace=True).input.read_bytes()
    assert "cut off" in refusal(make(whole[: len(whole) // 2], ".jpg")).message


@pytest.mark.parametrize(
    ("suffix", "cut", "saved"),
    [
        (".jpg", 1, {}),
        (".jpg", 2, {}),
        (".jpg", 1, {"interlace": True}),
        (".jpg", 2, {"interlace": True}),
        (".png", 1, {}),
        (".png", 4, {}),
        (".png", 12, {}),
        (".png", 12, {"interlace": True}),
        (".gif", 1, {}),
        (".gif", 2, {}),
    ],
)
@pytest.mark.parametrize("behind", [b"", bytes(400)])
def test_a_file_without_its_end_has_all_pixels(
    make: Make, suffix: str, cut: int, saved: dict[str, Any], behind: bytes
) -> None:
    whole = make(quadrants(600, 400), suffix, **saved).input.read_bytes()
    job = make(whole[:-cut] + behind, suffix)
    handle(job)
    assert corners(picture(job, 256)) == list(CORNERS)
    assert metadata(job)["salvaged"] is False


@pytest.mark.parametrize("interlace", [False, True])
@pytest.mark.parametrize(
    "behind", [b"\0\0", b"\r\n", b"\0\0SEFH" + b"data" * 500, b"\xff\xcf\0\4ab" + b"data" * 500 + b"\xff\xd9"]
)
def test_other_data_in_the_place_of_a_jpeg_s_end(make: Make, interlace: bool, behind: bytes) -> None:
    whole = make(quadrants(600, 400), ".jpg", interlace=interlace).input.read_bytes()
    job = make(whole[:-2] + behind, ".jpg")
    handle(job)
    assert corners(picture(job, 256)) == list(CORNERS)
    assert metadata(job)["salvaged"] is False
    assert "cut off" in refusal(make(whole[: len(whole) // 2] + bytes(500), ".jpg")).message


def test_a_webp_whose_metadata_is_cut_off_has_all_pixels(make: Make) -> None:
    whole = make(with_fields(quadrants(600, 400), **CAMERA), ".webp").input.read_bytes()
    job = make(whole[:-20], ".webp")
    handle(job)
    assert corners(picture(job, 256)) == list(CORNERS)


@pytest.mark.parametrize(("suffix", "saved"), [(".jpg", {}), (".jpg", {"interlace": True}), (".png", {}), (".gif", {})])
def test_what_there_is_of_a_file_is_published_if_asked_for(make: Make, suffix: str, saved: dict[str, Any]) -> None:
    grain = pyvips.Image.gaussnoise(600, 400, sigma=5, mean=0, seed=1)
    image = (quadrants(600, 400) + grain).cast("uchar").copy(interpretation="srgb")
    whole = make(image, suffix, keep="none", **saved).input.read_bytes()
    cut = whole[: int(len(whole) * 0.7)]
    assert "cut off" in refusal(make(cut, suffix)).message
    job = make(cut, suffix, {"salvage": True})
    assert handle(job).labels["salvaged"] is True
    assert metadata(job)["salvaged"] is True
    assert corners(picture(job, 256))[:2] == [RED, GREEN]
    whole_job = make(whole, suffix, {"salvage": True})
    assert handle(whole_job).labels["salvaged"] is False


def test_a_raw_photo_whose_preview_is_cut_off(make: Make) -> None:
    picture_of_it = jpeg(quadrants(640, 480))

    def raw_photo(at: int) -> bytes:
        tags: dict[int, Value] = {254: 1, 256: 640, 257: 480, 259: 6, 513: at, 514: len(picture_of_it)}
        return tiff(thumbnail(), sensor(800, 600), Image(tags))

    whole = raw_photo(len(raw_photo(100_000))) + picture_of_it
    handle(make(whole, ".dng"))
    cut = whole[: -len(picture_of_it) // 3]
    assert "cut off: at least" in refusal(make(cut, ".dng")).message
    assert handle(make(cut, ".dng", {"salvage": True})).labels["salvaged"] is True


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_some_formats_cannot_be_salvaged(make: Make, suffix: str) -> None:
    whole = make(quadrants(600, 400), suffix, keep="none").input.read_bytes()
    assert "cut off" in refusal(make(whole[: len(whole) // 2], suffix, {"salvage": True})).message


def test_damaged(make: Make) -> None:
    whole = bytearray(make(quadrants(600, 400), ".png").input.read_bytes())
    at = whole.index(b"IDAT") + 4
    whole[at : at + 40] = b"\xff" * 40
    error = refusal(make(bytes(whole), ".png"))
    assert error.reason == "unreadable"
    assert error.message.startswith("The PNG file is damaged, or of a rare kind: ")
    assert str(error) == error.message
    assert "/" not in error.message


def test_text_and_nothing(make: Make) -> None:
    assert "named .jpg but holds text" in refusal(make(b"Dear diary", ".jpg")).message
    assert refusal(make(b"", ".jpg")).reason == "empty"


def test_results_are_results(make: Make) -> None:
    assert isinstance(handle(make(quadrants(), ".png")), Result)


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────


def checked(make: Make, tmp_path: Path, colour: tuple[int, ...], **options: Any) -> tuple[Job, Result]:
    """Handle a photo of one colour with a model to which red is NSFW."""
    job = make(solid(colour, 900, 600), ".png", {"checks": ["safety"], "sizes": [64, 700], **options})
    job = replace(job, models={"safety": write_model(tmp_path / "safety")})
    for left in job.output.iterdir():
        left.unlink()
    return job, handle(job)


def test_a_photo_that_is_refused_is_withheld_and_its_metadata_say_why(make: Make, tmp_path: Path) -> None:
    job, result = checked(make, tmp_path, (255, 0, 0))
    assert [file.name for file in result.outputs] == ["metadata.json"] == [path.name for path in job.output.iterdir()]
    written = metadata(job)
    jsonschema.validate(written, json_schema())
    assert (written["verdict"], written["pictures"]) == ("refused", "withheld")
    assert (written["thumbhash"], written["dominant_colour"]) == (None, None)
    assert written["checks"][0]["because"] == ["NSFW"]
    assert result.labels["checks"] == written["checks"]


def test_a_photo_that_is_refused_is_blurred_if_asked_for(make: Make, tmp_path: Path) -> None:
    job, result = checked(make, tmp_path, (255, 0, 0), on_refused="blur")
    assert [file.name for file in result.outputs] == ["64.webp", "700.webp", "metadata.json"]
    assert metadata(job)["pictures"] == "blurred"
    assert picture(job, 700).width == 700


@pytest.mark.parametrize(("colour", "verdict"), [((0, 0, 255), "ok"), ((128, 0, 0), "review")])
def test_a_photo_to_be_reviewed_is_published(make: Make, tmp_path: Path, colour: tuple[int, ...], verdict: str) -> None:
    job, result = checked(make, tmp_path, colour)
    assert [file.name for file in result.outputs] == ["64.webp", "700.webp", "metadata.json"]
    assert (metadata(job)["verdict"], metadata(job)["pictures"]) == (verdict, "published")
    jsonschema.validate(metadata(job), json_schema())


def test_a_blurred_picture_shows_no_edge(make: Make, tmp_path: Path) -> None:
    stripes = pyvips.Image.arrayjoin([solid((c, 0, 0), 20, 400) for c in (255, 200) * 15], across=30)
    job = make(stripes, ".png", {"checks": ["safety"], "sizes": [256], "on_refused": "blur"})
    job = replace(job, models={"safety": write_model(tmp_path / "safety")})
    handle(job)
    assert sharpness(picture(job, 256)) < 1 < sharpness(stripes)


def test_what_is_written_follows_the_schema_without_checks_too(make: Make) -> None:
    job = make(with_fields(quadrants(300, 200), **CAMERA, **PLACE), ".jpg", {"gps": True, "sharpness": True})
    handle(job)
    jsonschema.validate(metadata(job), json_schema())
    assert "verdict" not in metadata(job)

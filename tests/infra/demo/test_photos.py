from __future__ import annotations

import pytest
import pyvips

from infra.demo.photos import ExpectedRefusal, ExpectedResult, SamplePhoto, photo_makers
from infra.demo.sample_images import square_centres
from tests.infra.demo.conftest import SEED
from webhook.cli.sample import SAMPLE
from webhook.config_file import load
from workers.handlers.photo.metadata.exif import read_block
from workers.handlers.registry import options_model


def opened(photo: SamplePhoto) -> pyvips.Image:
    return pyvips.Image.new_from_buffer(photo.content, "")


def expected(photo: SamplePhoto) -> ExpectedResult:
    assert isinstance(photo.expected, ExpectedResult)
    return photo.expected


def test_there_are_about_thirty_and_the_sample_watches_them_all(photos: dict[str, SamplePhoto]) -> None:
    assert 28 <= len(photos) <= 34
    pipeline = load(SAMPLE, options_model).pipelines["photos"]
    assert all(pipeline.watches(pipeline.input.bucket, pipeline.input.prefix + name) for name in photos)


def test_each_is_what_it_is_expected_to_be(photos: dict[str, SamplePhoto]) -> None:
    for photo in photos.values():
        if isinstance(photo.expected, ExpectedRefusal):
            continue
        image = opened(photo).autorot()
        assert (image.width, image.height) == (photo.expected.width, photo.expected.height), photo.name
        assert image.avg() > 0, photo.name  # decodes to its end


def test_orientations_are_stored_turned_and_shown_upright(photos: dict[str, SamplePhoto]) -> None:
    contents = set()
    for orientation in range(1, 9):
        photo = photos[f"orientation-{orientation}.jpg"]
        image = opened(photo)
        assert image.get("orientation") == orientation
        upright, stored = near_corners(image.autorot()), near_corners(image)
        assert upright == [colour.name for colour in expected(photo).corners or ()]
        contents.add(tuple(stored))
    assert len(contents) == 8, "two of the eight look the same before they are turned"


def near_corners(image: pyvips.Image) -> list[str]:
    from infra.demo.sample_images import Colour

    def nearest(x: int, y: int) -> str:
        pixel = image.getpoint(x, y)[:3]
        distance = {c.name: sum((a - b) ** 2 for a, b in zip(pixel, c.value, strict=True)) for c in Colour}
        return min(distance, key=distance.__getitem__)

    return [nearest(x, y) for x, y in square_centres(image.width, image.height)]


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("orientation-1.jpg", "jpeg"),
        ("deep.png", "png"),
        ("photo.webp", "webp"),
        ("photo.avif", "heif"),
        ("animation.gif", "gif"),
        ("photo.tif", "tiff"),
    ],
)
def test_formats(photos: dict[str, SamplePhoto], name: str, loader: str) -> None:
    assert str(opened(photos[name]).get("vips-loader")).startswith(loader)


def test_kinds_of_jpeg(photos: dict[str, SamplePhoto]) -> None:
    assert b"\xff\xc2" in photos["progressive.jpg"].content, "no progressive frame"
    assert b"\xff\xc2" not in photos["orientation-1.jpg"].content
    assert opened(photos["cmyk.jpg"]).interpretation == "cmyk"
    assert opened(photos["grey.jpg"]).bands == 1
    assert opened(photos["display-p3.jpg"]).get_typeof("icc-profile-data")
    assert opened(photos["large.jpg"]).width * opened(photos["large.jpg"]).height == 24_000_000


def test_depth_transparency_and_frames(photos: dict[str, SamplePhoto]) -> None:
    assert opened(photos["deep.png"]).format == "ushort"
    for name in ("alpha.png", "alpha.webp"):
        image = opened(photos[name])
        assert image.getpoint(image.width // 2, image.height // 2)[3] == 0
        assert image.getpoint(5, 5)[3] == 255
    assert opened(photos["animation.gif"]).get("n-pages") == 4


def test_cameras_write_what_is_expected_and_where_it_was(photos: dict[str, SamplePhoto]) -> None:
    with_camera = [
        photo for photo in photos.values() if isinstance(photo.expected, ExpectedResult) and photo.expected.camera
    ]
    assert len(with_camera) > 15
    for photo in with_camera:
        read, metadata = read_block(opened(photo).get("exif-data")), expected(photo).metadata()
        camera = {"make": read.make, "model": read.model, "lens": read.lens}
        assert (read.captured_at, camera) == (metadata["captured_at"], metadata["camera"]), photo.name
        assert read.place, f"{photo.name} has nothing to hide"


def test_names_and_contents_that_are_there_to_confuse(photos: dict[str, SamplePhoto]) -> None:
    assert any(all(character in name for character in " +%🏕") for name in photos)
    assert photos["twin-a.jpg"].content == photos["twin-b.jpg"].content
    overwritten = photos["overwritten.jpg"]
    assert len({*overwritten.earlier, overwritten.content}) == 4


def test_the_broken_ones_are_broken(photos: dict[str, SamplePhoto]) -> None:
    refused = {name for name, photo in photos.items() if isinstance(photo.expected, ExpectedRefusal)}
    assert refused == {"truncated.jpg", "shopping-list.jpg"}
    with pytest.raises(pyvips.Error):
        pyvips.Image.new_from_buffer(photos["truncated.jpg"].content, "", fail_on="error").avg()
    with pytest.raises(pyvips.Error):
        opened(photos["shopping-list.jpg"])


def test_the_same_seed_gives_the_same_bytes(photos: dict[str, SamplePhoto]) -> None:
    def made(seed: int) -> SamplePhoto:
        [photo] = next(photo for make in photo_makers(seed)[1:2] for photo in [make()])
        return photo

    assert made(SEED).content == photos["orientation-1.jpg"].content
    assert made(SEED + 1).content != photos["orientation-1.jpg"].content

"""Makes the photos of the demo, each with the result that is expected of it.

Each photo tries something that goes wrong in real uploads: how cameras are held, colours of print shops, names that
need escaping, the same bytes twice, a file that was cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from infra.demo import encoding
from infra.demo.camera import Camera
from infra.demo.encoding import Encode
from infra.demo.sample_images import CORNERS, PALETTES, Colour, Corners, SampleImage

TEXT = b"Milk, flour, salt.\nAsk Oyuna whether the felt is dry.\n"

_TYPES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
    "tiff": "image/tiff",
}


@dataclass(frozen=True, slots=True)
class ExpectedResult:
    """The result that a good photo has to have."""

    width: int
    """Pixels, as a viewer shows the photo."""
    height: int
    format: str
    corners: Corners | None = CORNERS
    """None: the photo is black and white."""
    camera: Camera | None = None
    orientation: int = 1
    has_alpha: bool = False
    window: bool = False
    """Whether its middle is transparent."""
    pages: int = 1

    def metadata(self) -> dict[str, Any]:
        """The fields of ``metadata.json`` that are known before the photo is handled."""
        return {
            "width": self.width,
            "height": self.height,
            "format": self.format,
            "captured_at": self.camera.captured_at + self.camera.offset if self.camera else None,
            "orientation": self.orientation,
            "has_alpha": self.has_alpha,
            "pages": self.pages,
            "camera": self.camera.describe() if self.camera else {"make": None, "model": None, "lens": None},
        }


@dataclass(frozen=True, slots=True)
class ExpectedRefusal:
    """Why a broken file has to be parked."""

    reason: str
    message_part: str
    """Words that the message has to contain."""


@dataclass(frozen=True, slots=True)
class SamplePhoto:
    """An object to upload, and the result that is expected."""

    name: str
    """Its key below the input's prefix."""
    purpose: str
    """What it tries, for the contact sheet."""
    content: bytes
    expected: ExpectedResult | ExpectedRefusal
    content_type: str = "image/jpeg"
    earlier: tuple[bytes, ...] = ()
    """Contents that are uploaded before, each overwritten by the next."""


MakePhotos = Callable[[], Sequence[SamplePhoto]]
"""Makes one photo or several; takes up to a second."""


def photo_makers(seed: int) -> list[MakePhotos]:
    """A function for each photo, to be called in any order and on any thread. The same seed gives the same photos."""
    studio = _Studio(seed)
    return [
        studio.large,
        *(studio.turned(orientation) for orientation in range(1, 9)),
        *studio.formats(),
        studio.animation,
        studio.window("alpha.png", "PNG with transparency", encoding.png, "png"),
        studio.window("alpha.webp", "WebP with transparency", encoding.webp, "webp"),
        studio.upright("scan.jpeg", "Without any EXIF", 1000, 1000, exif=False),
        studio.upright("a+b 100% 🏕 yurt.jpg", "A name with spaces, plus, percent and emoji", 1200, 800),
        studio.upright("tiny.jpg", "Smaller than every thumbnail: never enlarged", 120, 90),
        studio.upright("panorama.jpg", "Much wider than high", 3200, 1000),
        studio.upright("2026/June/IMG_0042.JPEG", "In folders, its suffix in capitals", 800, 1200),
        studio.twins,
        studio.overwritten,
        studio.truncated,
        studio.not_a_photo,
    ]


class _Studio:
    """Makes each photo with colours, a seed and a time of its own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def upright(
        self,
        name: str,
        purpose: str,
        width: int,
        height: int,
        encode: Encode = encoding.jpeg,
        format_name: str = "jpeg",
        *,
        exif: bool = True,
        grey: bool = False,
    ) -> MakePhotos:
        """A photo stored the right way up."""

        def make() -> list[SamplePhoto]:
            camera = self._camera(name) if exif else None
            image = self._sample_image(name, purpose, width, height).draw()
            content = encode(camera.stamp(image) if camera else image)
            expected = ExpectedResult(width, height, format_name, None if grey else CORNERS, camera)
            return [SamplePhoto(name, purpose, content, expected, _TYPES[format_name])]

        return make

    def formats(self) -> Iterator[MakePhotos]:
        yield self.upright("progressive.jpg", "Progressive JPEG", 1200, 800, encoding.progressive_jpeg)
        yield self.upright("cmyk.jpg", "CMYK JPEG", 900, 600, encoding.cmyk_jpeg)
        yield self.upright("display-p3.jpg", "JPEG in Display P3", 1200, 800, encoding.p3_jpeg)
        yield self.upright("grey.jpg", "Black and white JPEG", 1200, 800, encoding.grey_jpeg, grey=True)
        yield self.upright("photo.webp", "WebP", 1200, 800, encoding.webp, "webp")
        yield self.upright("photo.avif", "AVIF", 1200, 800, encoding.avif, "avif")
        yield self.upright("photo.tif", "TIFF", 800, 600, encoding.tiff, "tiff", exif=False)
        yield self.upright("deep.png", "PNG with 16 bits a channel", 800, 600, encoding.png_16_bit, "png", exif=False)

    def turned(self, orientation: int) -> MakePhotos:
        """A photo with one of the eight EXIF orientations."""
        name, purpose = f"orientation-{orientation}.jpg", f"EXIF orientation {orientation}"

        def make() -> list[SamplePhoto]:
            camera = self._camera(name)
            image = camera.stamp(self._sample_image(name, purpose, 1200, 800).draw())
            content = encoding.jpeg(encoding.turned_by(image, orientation))
            return [
                SamplePhoto(
                    name, purpose, content, ExpectedResult(1200, 800, "jpeg", camera=camera, orientation=orientation)
                )
            ]

        return make

    def window(self, name: str, purpose: str, encode: Encode, format_name: str) -> MakePhotos:
        """A photo that is transparent in its middle."""

        def make() -> list[SamplePhoto]:
            image = encoding.with_window(self._sample_image(name, purpose, 1000, 700).draw())
            expected = ExpectedResult(1000, 700, format_name, has_alpha=True, window=True)
            return [SamplePhoto(name, purpose, encode(image), expected, _TYPES[format_name])]

        return make

    def large(self) -> list[SamplePhoto]:
        return list(self.upright("large.jpg", "24 megapixels", 6000, 4000)())

    def animation(self) -> list[SamplePhoto]:
        name, purpose = "animation.gif", "Animated GIF: its first frame counts"
        first = self._sample_image(name, purpose, 480, 320)
        later = [replace(first, corners=_turned(turns)) for turns in (1, 2, 3)]
        content = encoding.animated_gif([image.draw() for image in (first, *later)])
        return [
            SamplePhoto(name, purpose, content, ExpectedResult(480, 320, "gif", pages=4, has_alpha=True), _TYPES["gif"])
        ]

    def twins(self) -> list[SamplePhoto]:
        [photo] = self.upright("twin-a.jpg", "The same bytes under two names", 1200, 800)()
        return [photo, replace(photo, name="twin-b.jpg")]

    def overwritten(self) -> list[SamplePhoto]:
        """Four contents of one key, told apart by their corners."""
        name, purpose = "overwritten.jpg", "Overwritten three times while in flight: the last content counts"
        camera = self._camera(name)
        images = [
            replace(self._sample_image(name, f"Content {turns + 1} of 4", 1800, 1200), corners=_turned(turns))
            for turns in range(4)
        ]
        *earlier, last = [encoding.jpeg(camera.stamp(image.draw())) for image in images]
        expected = ExpectedResult(1800, 1200, "jpeg", images[-1].corners, camera)
        return [SamplePhoto(name, purpose, last, expected, earlier=tuple(earlier))]

    def truncated(self) -> list[SamplePhoto]:
        [whole] = self.upright("truncated.jpg", "Cut off on its way", 1200, 800)()
        cut = whole.content[: len(whole.content) * 3 // 5]
        return [replace(whole, content=cut, expected=ExpectedRefusal("unreadable", "cut off"))]

    def not_a_photo(self) -> list[SamplePhoto]:
        refused = ExpectedRefusal("unreadable", "named .jpg but holds text")
        return [SamplePhoto("shopping-list.jpg", "A text file called .jpg", TEXT, refused)]

    def _sample_image(self, name: str, caption: str, width: int, height: int) -> SampleImage:
        random = Random(f"{self._seed}/{name}")
        return SampleImage(
            width, height, caption.partition(":")[0], random.choice(PALETTES), seed=random.randrange(2**31)
        )

    def _camera(self, name: str) -> Camera:
        random = Random(f"{self._seed}/{name}/camera")
        day, hour, minute = random.randint(1, 30), random.randint(6, 21), random.randint(0, 59)
        return Camera(f"2026-06-{day:02}T{hour:02}:{minute:02}:00", random.choice(("", "+08:00")))


def _turned(turns: int) -> Corners:
    first, second, third, fourth = tuple(Colour)[turns:] + tuple(Colour)[:turns]
    return (first, second, third, fourth)

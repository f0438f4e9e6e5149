"""Prepares a picture for a model as its ``preprocessor_config.json`` says: resize, crop, numbers.

The names are those of Hugging Face's image processors. Resizing looks at all pixels under the filter, as Pillow's does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

import pyvips
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "preprocessor_config.json"
Side = Annotated[int, Field(ge=1, le=4_096)]
Channels = Annotated[tuple[float, float, float], Field()]


@dataclass(frozen=True, slots=True)
class _Kernel:
    """libvips' names of one of Pillow's filters."""

    reducing: str
    enlarging: str


_KERNELS = (
    _Kernel("nearest", "nearest"),
    _Kernel("lanczos3", "bicubic"),
    _Kernel("linear", "bilinear"),
    _Kernel("cubic", "bicubic"),
)
"""By Pillow's number."""
_ROUNDING = 1e-6
"""That a side which is exact by its definition does not become a pixel less."""
_CROPPED_BELOW = 384
"""Pixels from which a processor with ``crop_pct`` resizes to a square without a crop."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Width and height in pixels."""

    width: int
    height: int


class TargetSize(BaseModel):
    """``size`` or ``crop_size``: both sides, or one with the other in proportion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: Side | None = None
    width: Side | None = None
    shortest_edge: Side | None = None
    longest_edge: Side | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        has_edge = bool(self.shortest_edge or self.longest_edge)
        if (self.height is None) != (self.width is None) or bool(self.height) == has_edge:
            raise ValueError("has to have height and width, or shortest_edge or longest_edge")
        return self

    @property
    def square(self) -> Dimensions | None:
        """Both sides where both are given."""
        return Dimensions(self.width, self.height) if self.width and self.height else None

    def of(self, picture: Dimensions) -> Dimensions:
        """The size of a picture after it was resized."""
        if exact := self.square:
            return exact
        shorter, longer = sorted((picture.width, picture.height))
        scales = [edge / side for edge, side in ((self.shortest_edge, shorter), (self.longest_edge, longer)) if edge]
        width, height = (max(1, int(side * min(scales) + _ROUNDING)) for side in (picture.width, picture.height))
        return Dimensions(width, height)


class Preprocessing(BaseModel):
    """What is done to a picture before the model sees it. Other fields are ignored."""

    model_config = ConfigDict(frozen=True)

    do_resize: bool = True
    size: TargetSize | None = None
    resample: Annotated[int, Field(ge=0, le=3)] = 2
    """Pillow's number of a filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic."""
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the resized picture that a crop to ``size`` leaves (ConvNeXT)."""
    do_center_crop: bool = False
    crop_size: TargetSize | None = None
    do_rescale: bool = True
    rescale_factor: Annotated[float, Field(gt=0, le=1)] = 1 / 255
    rescale_offset: bool = False
    """Whether 1 is taken off after rescaling (EfficientNet)."""
    do_normalize: bool = True
    image_mean: Channels = (0.5, 0.5, 0.5)
    image_std: Channels = (0.5, 0.5, 0.5)
    do_flip_channel_order: bool = False
    """Whether the model wants blue first."""

    @model_validator(mode="before")
    @classmethod
    def _from_old_numbers(cls, fields: Any) -> Any:
        """A side alone: both sides, or the shortest where a crop follows."""
        if not isinstance(fields, dict):
            return fields
        fields = dict(fields)
        names = ("shortest_edge",) if fields.get("do_center_crop") or fields.get("crop_pct") else ("height", "width")
        for name, sides in (("size", names), ("crop_size", ("height", "width"))):
            if isinstance(fields.get(name), int):
                fields[name] = dict.fromkeys(sides, fields[name])
        return fields

    @field_validator("image_std")
    @classmethod
    def _no_zero(cls, std: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(map(abs, std)) < 1e-6:
            raise ValueError("numbers are divided by it: none of it may be 0")
        return std

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.do_resize and self.size is None:
            raise ValueError("size is missing, or do_resize has to be false")
        if self.do_center_crop and (self.crop_size is None or self.crop_size.square is None):
            raise ValueError("crop_size with height and width is missing, or do_center_crop has to be false")
        return self

    @property
    def keeps_numbers(self) -> bool:
        """Whether the model is given the pixels' numbers, 0 to 255, as they are."""
        return not (self.do_rescale or self.do_normalize)

    def resized(self, picture: Dimensions) -> Dimensions:
        """The size of a picture after it was resized, before the crop."""
        if not self.do_resize or self.size is None:
            return picture
        edge = self.size.shortest_edge
        if self.crop_pct and edge:
            if edge >= _CROPPED_BELOW:
                return Dimensions(edge, edge)
            return TargetSize(shortest_edge=int(edge / self.crop_pct)).of(picture)
        return self.size.of(picture)

    def prepared(self, picture: Dimensions) -> Dimensions:
        """The size of what the model is given."""
        return self._crop or self.resized(picture)

    def pixels(self, picture: pyvips.Image) -> NDArray[np.uint8]:
        """Resize and crop an 8-bit picture: rows of columns of three channels."""
        import numpy as np

        wanted = self.resized(dimensions(picture))
        image = _cropped(_resized(_rgb(picture), wanted, _KERNELS[self.resample]), self._crop)
        pixels = np.frombuffer(image.write_to_memory(), np.uint8).reshape(image.height, image.width, 3)
        return pixels[:, :, ::-1] if self.do_flip_channel_order else pixels

    def numbers(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Rescale and normalise pixels."""
        import numpy as np

        numbers = pixels.astype(np.float32)
        if self.do_rescale:
            numbers *= np.float32(self.rescale_factor)
            if self.rescale_offset:
                numbers -= 1
        if self.do_normalize:
            numbers -= np.array(self.image_mean, np.float32)
            numbers /= np.array(self.image_std, np.float32)
        return numbers

    @property
    def _crop(self) -> Dimensions | None:
        if self.do_center_crop and self.crop_size:
            return self.crop_size.square
        edge = self.size.shortest_edge if self.size else None
        return Dimensions(edge, edge) if self.do_resize and self.crop_pct and edge else None


def dimensions(picture: pyvips.Image) -> Dimensions:
    """The size of a picture."""
    return Dimensions(picture.width, picture.height)


def _rgb(picture: pyvips.Image) -> pyvips.Image:
    """Three channels of 8 bits; what is transparent is white."""
    picture = picture.colourspace("srgb")
    flat = picture.flatten(background=255) if picture.hasalpha() else picture
    return flat.cast("uchar")


def _resized(picture: pyvips.Image, wanted: Dimensions, kernel: _Kernel) -> pyvips.Image:
    if dimensions(picture) == wanted:
        return picture
    scale, vscale = wanted.width / picture.width, wanted.height / picture.height
    # Without a gap nothing is shrunk by a cheaper filter first.
    image = picture.resize(min(1, scale), vscale=min(1, vscale), kernel=kernel.reducing, gap=0)
    if scale <= 1 and vscale <= 1:
        return _cropped(image, wanted)
    # Pixels are areas: their middles, not their corners, keep their places.
    return image.affine(
        [max(1, scale), 0, 0, max(1, vscale)],
        interpolate=pyvips.Interpolate.new(kernel.enlarging),
        idx=0.5, idy=0.5, odx=-0.5, ody=-0.5,
        oarea=[0, 0, wanted.width, wanted.height],
        extend="copy",
    )  # fmt: skip


def _cropped(picture: pyvips.Image, wanted: Dimensions | None) -> pyvips.Image:
    """The middle of a picture, with black around it where it is too small."""
    if wanted is None or dimensions(picture) == wanted:
        return picture
    if picture.width < wanted.width or picture.height < wanted.height:
        picture = picture.gravity(
            "centre", max(picture.width, wanted.width), max(picture.height, wanted.height), extend="black"
        )
    left, top = (picture.width - wanted.width) // 2, (picture.height - wanted.height) // 2
    return picture.crop(left, top, wanted.width, wanted.height)

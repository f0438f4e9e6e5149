"""The photo handler's options. Loads no image library, so that the control plane can check them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from workers.checks.model_config import Label
from workers.checks.verdict import Threshold

Size = Annotated[int, Field(ge=16, le=8_192)]
CheckName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9-]*$")]
LOOKED_AT_SIZE = 512
"""Pixels of the picture that models, hash and sharpness are taken from, where that is enough for a model."""

_LARGE_PIXELS = 512


class PhotoOptions(BaseModel):
    """Options of ``handler = "photo"``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sizes: Annotated[list[Size], Field(min_length=1, max_length=8)] = [256, 512, 1600]
    """Pixels: each picture fits into a square box of this side, is never enlarged, and is named
    ``{size}.webp``.
    """
    quality: Annotated[int, Field(ge=1, le=100)] = 80
    """WebP quality."""
    effort: Annotated[int, Field(ge=0, le=6)] | None = None
    """WebP effort, 0 fastest to 6 smallest. None: 4 up to 512 pixels, 2 above."""
    gps: bool = False
    """Whether ``metadata.json`` names the place where the photo was taken."""
    max_pixels: Annotated[int, Field(ge=1, le=2_000_000_000)] = 0x3FFF * 0x3FFF
    """Width × height of what is decoded. A larger picture is refused before it is decoded. 268 megapixels by default,
    the largest square that a WebP can hold: above what phones take, which is 200.
    """
    max_pages: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Frames or pages in one file. Only the first is published."""
    salvage: bool = False
    """Whether what can be decoded of a file that is cut off is published, and marked as ``salvaged``."""
    cache_control: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9=, -]*$")] = "max-age=300"
    """Of every output. An overwritten photo keeps its outputs' names, so what is long cached is long stale.
    """
    checks: Annotated[list[CheckName], Field(max_length=8)] = []
    """Models of the pipeline, by their names, that look at each photo."""
    thresholds: dict[CheckName, dict[Label, Threshold]] = {}
    """For a check, by label: the scores from which on a photo is to be reviewed, or is refused. What is given for a
    check takes the place of all defaults for it.
    """
    on_refused: Literal["withhold", "blur", "publish"] = "withhold"
    """What becomes of the pictures of a photo that is refused."""
    embedding: CheckName | None = None
    """The check whose embedding ``metadata.json`` has."""
    pdq: bool = False
    """Whether ``metadata.json`` has a PDQ hash."""
    sharpness: bool = False
    """Whether ``metadata.json`` has the photo's sharpness."""

    @field_validator("sizes")
    @classmethod
    def _distinct(cls, sizes: list[int]) -> list[int]:
        if len(set(sizes)) < len(sizes):
            raise ValueError("each size makes one picture: name it once")
        return sizes

    @model_validator(mode="after")
    def _of_checks(self) -> Self:
        if len(set(self.checks)) < len(self.checks):
            raise ValueError("checks: name each model once")
        named = {*self.thresholds, *([self.embedding] if self.embedding else [])}
        if unknown := named - set(self.checks):
            raise ValueError(f"{min(unknown)} is none of the checks: add it to them, or leave it out")
        return self

    @property
    def decoded_size(self) -> int:
        """Pixels of the side of the square that the photo is decoded into."""
        is_looked_at = self.checks or self.pdq or self.sharpness
        return max(*self.sizes, LOOKED_AT_SIZE if is_looked_at else 0)

    def effort_of(self, size: int) -> int:
        """WebP effort for one size.

        At 1600 pixels effort 4 takes 186 ms, 2 takes 80 and 0 takes 48; decoding takes 110. Effort 2 halves
        the time of the whole set for a file some 13 % larger; 0 saves little more and gives up the
        prediction modes that quality rests on. At 512 and below effort 4 costs 25 ms at most and keeps the
        files smallest that load first.
        """
        if self.effort is not None:
            return self.effort
        return 2 if size > _LARGE_PIXELS else 4

"""``metadata.json`` of a photo: ``docs/metadata.schema.json`` is what `json_schema` returns."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from workers.checks.verdict import CheckVerdict, Share
from workers.handlers.photo.formats import Format
from workers.value_types import Sha256

_LABELS = (
    "width",
    "height",
    "format",
    "captured_at",
    "dominant_colour",
    "salvaged",
    "thumbhash",
    "verdict",
    "pictures",
    "checks",
)
"""Fields that are also the labels of ``result.json``, as far as they are there."""


class PictureState(StrEnum):
    """What has become of a photo's pictures."""

    PUBLISHED = "published"
    BLURRED = "blurred"
    """The photo is refused, and only areas of colour are to be seen."""
    WITHHELD = "withheld"
    """The photo is refused, and it has none."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class CameraFacts(_Part):
    """What the photo was taken with; null for what is not known. The uploader can put any text there."""

    make: str | None
    model: str | None
    lens: str | None


class PhotoPlace(_Part):
    """Where the photo was taken (WGS 84)."""

    latitude: float
    """Degrees north."""
    longitude: float
    """Degrees east."""
    altitude: float | None
    """Metres above sea level."""


class ScoredLabel(_Part):
    """How sure a model is of one label."""

    label: str
    score: Share
    box: Annotated[list[Share], Field(min_length=4, max_length=4)] = []
    """Where it is, of a detector alone: left, top, right and bottom of the surest place, as shares of width and height.
    """


class CheckResult(_Part):
    """What one model has made of the photo."""

    name: str
    """The model's name in the pipeline."""
    root: Sha256 | None = None
    """Names the model's version: the SHA-256 of its manifest. Left out where the model was never published."""
    verdict: CheckVerdict | None
    """By the thresholds of its labels; null where none has any."""
    because: list[str]
    """The labels that reached the verdict's threshold."""
    labels: list[ScoredLabel]
    """The ten surest labels, the surest first, and each one that has a threshold."""


class PdqHash(_Part):
    """A hash of which few bits change when the photo is made smaller, lighter or compressed (PDQ, of Meta)."""

    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of 256 bits. Copies of one photo differ in 31 bits at most."""
    quality: Annotated[int, Field(ge=0, le=100)]
    """Below 50 the photo has too little detail for the hash to tell it from others."""


class PhotoDocument(_Part):
    """Facts about a photo. Null means that the photo does not contain the fact."""

    width: int
    """Pixels, as a viewer shows the photo."""
    height: int
    """Pixels, as a viewer shows the photo."""
    format: Format
    """By content, not by name."""
    captured_at: str | None
    """When it was taken, ISO 8601. Local time there where no offset is given; a date alone where no time is known."""
    dominant_colour: str | None
    """As #rrggbb. Null where the pictures are withheld."""
    salvaged: bool
    """Whether the file is cut off, and only what there is of it is shown."""
    thumbhash: str | None
    """A blurred placeholder, Base64. Null where the pictures are withheld."""
    orientation: Annotated[int, Field(ge=1, le=8)]
    """As EXIF numbers it."""
    has_alpha: bool
    """Whether it has a transparent channel."""
    pages: Annotated[int, Field(ge=1)]
    """Frames or pages; only the first is published."""
    camera: CameraFacts
    gps: PhotoPlace | None = None
    """Only where the pipeline asks for it."""
    verdict: CheckVerdict | None = None
    """The worst of all checks: ok, to be reviewed by a person, or refused. Null where no label has a threshold. Only
    where the pipeline has checks, as the next two.
    """
    pictures: PictureState = PictureState.PUBLISHED
    """What has become of the pictures, by the verdict and the pipeline's on_refused."""
    checks: list[CheckResult] = []
    """In the order of the pipeline's checks."""
    embedding: list[float] = []
    """What the photo shows, as a vector of length 1: the more alike two photos, the closer to 1 their scalar product.
    Only where the pipeline asks for it.
    """
    pdq: PdqHash | None = None
    """Only where the pipeline asks for it."""
    sharpness: Annotated[float, Field(ge=0)] = 0
    """Variance of the Laplacian of the photo within 512 pixels, grey from 0 to 255: the less, the more blurred. Only
    where the pipeline asks for it.
    """

    def encode(self) -> str:
        """JSON, without the fields that the pipeline does not ask for."""
        return self.model_dump_json(indent=2, exclude_unset=True) + "\n"

    @property
    def labels(self) -> dict[str, JsonValue]:
        """The small facts, for ``result.json``."""
        fields: dict[str, JsonValue] = self.model_dump(mode="json", exclude_unset=True, include=set(_LABELS))
        return fields


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``metadata.json``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **PhotoDocument.model_json_schema()}

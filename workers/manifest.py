"""The manifest, ``result.json``: the durable record of one result, written beside its outputs after all of them.

The ledger can be rebuilt from manifests alone: each names the input's version, the fencing token it was made
under and every output with the ETag that the store answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from workers.protocol import MAX_MODELS, MAX_OUTPUTS, Id, Output, Version
from workers.value_types import ModelName, Sha256, UsdText, VerdictName

CONTENT_TYPE = "application/json"
MAX_BYTES = 1 << 20
"""Of one encoded manifest, labels included."""


class Seconds(BaseModel):
    """How long each step took. Publishing counts up to the manifest's own PUT."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    fetch: Annotated[float, Field(ge=0)]
    handle: Annotated[float, Field(ge=0)]
    publish: Annotated[float, Field(ge=0)]


class Manifest(BaseModel):
    """One result. Fields that a newer writer added are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal[1] = 1
    pipeline: str
    bucket: str
    """The input bucket."""
    key: str
    """The input's key."""
    input: Version
    """The version that was fetched: ETag, Last-Modified and size in bytes from the store's response to the GET."""
    token: Id
    """Fencing token of the lease: of two results of one object the one with the greater token is the
    later."""
    attempt: Annotated[int, Field(ge=1)]
    handler: str
    """Kind of the handler."""
    models: Annotated[dict[ModelName, Sha256], Field(max_length=MAX_MODELS)] = {}
    """The root of each model that the handler had: it names the version. Left out where the pipeline names none."""
    outputs: Annotated[tuple[Output, ...], Field(max_length=MAX_OUTPUTS)]
    """All outputs but the manifest, with the store's ETags, in the handler's order."""
    labels: dict[str, JsonValue] = {}
    """The handler's labels, sorted by name."""
    seconds: Seconds
    finished_at: datetime
    """When the manifest was written, by the worker's clock, UTC."""
    cost_usd: UsdText | None = None
    """The lease's share of what its machine cost, up to the manifest, in US dollars. Left out where it has no price."""

    def encode(self) -> bytes:
        """Compact JSON in UTF-8. The same manifest is always the same bytes: fields as above, labels sorted.

        Raises ValueError when it is longer than ``MAX_BYTES``.
        """
        labels = {name: _canonical(self.labels[name]) for name in sorted(self.labels)}
        # Left out where they say nothing, so that a result without them has the bytes that it always had.
        without = {name for name, value in (("cost_usd", self.cost_usd), ("models", self.models)) if not value}
        encoded = self.model_copy(update={"labels": labels}).model_dump_json(exclude=without).encode()
        if len(encoded) > MAX_BYTES:
            raise ValueError(
                f"the manifest has {len(encoded)} bytes, at most {MAX_BYTES} are allowed: shorten the labels"
            )
        return encoded

    @classmethod
    def decode(cls, encoded: bytes) -> Manifest:
        """Read an encoded manifest, with or without padding. Raises ValueError on anything else."""
        if len(encoded) > 2 * MAX_BYTES:
            raise ValueError(f"a manifest of {len(encoded)} bytes is longer than any that is written")
        return cls.model_validate_json(encoded)


def verdict_of(labels: Mapping[str, JsonValue]) -> VerdictName | None:
    """The verdict of the checks among a result's labels. None: it has none of these."""
    verdict = labels.get("verdict")
    return next((name for name in get_args(VerdictName) if name == verdict), None)


def _canonical(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _canonical(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value

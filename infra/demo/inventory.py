"""One photo and all that was found of it, brought together from both buckets and the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.demo.photos import SamplePhoto
from infra.demo.results import Stored
from infra.demo.watch import DemoSnapshot, ParkedPhoto
from webhook.config import Pipeline
from workers.handlers.photo.options import PhotoOptions
from workers.manifest import Manifest
from workers.protocol import MANIFEST

METADATA = "metadata.json"


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """One photo's."""

    key: str
    photo: SamplePhoto
    etag: str | None
    """Of the input, as the store lists it. None: it is not there."""
    outputs: Mapping[str, Stored]
    """By name."""
    parked: ParkedPhoto | None

    @property
    def manifest(self) -> Manifest | None:
        """What lies at ``result.json``; None where nothing does, or something else than a manifest."""
        stored = self.outputs.get(MANIFEST)
        try:
            return Manifest.decode(stored.content) if stored else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything there is to verify."""

    name: str
    """The pipeline's."""
    pipeline: Pipeline
    findings: Sequence[PhotoResult]
    strays: Sequence[str]
    """Objects in either bucket that belong to no photo."""
    last: DemoSnapshot

    @property
    def options(self) -> PhotoOptions:
        """What the handler was told."""
        return PhotoOptions.model_validate(self.pipeline.options)


def bring_together(
    name: str,
    pipeline: Pipeline,
    photos: Mapping[str, SamplePhoto],
    inputs: Mapping[str, str],
    outputs: Mapping[str, Stored],
    last: DemoSnapshot,
) -> Inventory:
    """``photos`` and ``inputs`` (ETags) by key, ``outputs`` by their own keys."""
    prefixes = {key: f"{pipeline.output.prefix}{key}/" for key in photos}
    parked = {row.key: row for row in last.parked}
    owned = {key: {k: v for k, v in outputs.items() if k.startswith(prefix)} for key, prefix in prefixes.items()}
    findings = [
        PhotoResult(
            key,
            photo,
            inputs.get(key),
            {full.removeprefix(prefixes[key]): stored for full, stored in owned[key].items()},
            parked.get(key),
        )
        for key, photo in photos.items()
    ]
    known = {full for mine in owned.values() for full in mine}
    strays = [f"{pipeline.input.bucket}/{key}" for key in inputs if key not in photos]
    strays += [f"{pipeline.output.bucket}/{key}" for key in outputs if key not in known]
    return Inventory(name, pipeline, findings, sorted(strays), last)

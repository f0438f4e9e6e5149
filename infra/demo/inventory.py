"""Brings together what both buckets and the ledger hold of each photo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.demo.photos import SamplePhoto
from infra.demo.results import StoredObject
from infra.demo.watch import DemoSnapshot, ParkedPhoto
from webhook.config import Pipeline
from workers.handlers.photo.options import PhotoOptions
from workers.manifest import Manifest
from workers.protocol import MANIFEST

METADATA = "metadata.json"


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """A photo, and what was found of it in the buckets and in the ledger."""

    key: str
    photo: SamplePhoto
    etag: str | None
    """Of the input, as the store lists it. None: the store has no such object."""
    outputs: Mapping[str, StoredObject]
    """By name."""
    parked: ParkedPhoto | None

    @property
    def manifest(self) -> Manifest | None:
        """The manifest at ``result.json``; None where there is none, or the object is not a manifest."""
        stored = self.outputs.get(MANIFEST)
        try:
            return Manifest.decode(stored.content) if stored else None
        except ValueError:
            return None

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What ``metadata.json`` holds; empty where there is none, or it is not a JSON object."""
        stored = self.outputs.get(METADATA)
        try:
            metadata = json.loads(stored.content) if stored else {}
        except ValueError:
            return {}
        return metadata if isinstance(metadata, dict) else {}


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that is verified: a result for each photo, unexpected objects, and the last snapshot."""

    name: str
    """Of the pipeline."""
    pipeline: Pipeline
    results: Sequence[PhotoResult]
    unexpected: Sequence[str]
    """Objects in either bucket that belong to no photo: ``bucket/key``."""
    snapshot: DemoSnapshot
    """Of the services, when all was done."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Root of each model that was published for the checks."""

    @property
    def options(self) -> PhotoOptions:
        """The options of the photo handler."""
        return PhotoOptions.model_validate(self.pipeline.options)


def take_inventory(
    name: str,
    pipeline: Pipeline,
    photos: Mapping[str, SamplePhoto],
    inputs: Mapping[str, str],
    outputs: Mapping[str, StoredObject],
    snapshot: DemoSnapshot,
) -> Inventory:
    """Assign every object to its photo. ``photos`` and ``inputs`` (ETags) by key, ``outputs`` by their own keys."""
    parked = {row.key: row for row in snapshot.parked}
    results = [
        PhotoResult(key, photo, inputs.get(key), _below(f"{pipeline.output.prefix}{key}/", outputs), parked.get(key))
        for key, photo in photos.items()
    ]
    known = {f"{pipeline.output.prefix}{result.key}/{name}" for result in results for name in result.outputs}
    unexpected = [f"{pipeline.input.bucket}/{key}" for key in inputs if key not in photos]
    unexpected += [f"{pipeline.output.bucket}/{key}" for key in outputs if key not in known]
    return Inventory(name, pipeline, results, sorted(unexpected), snapshot)


def _below(prefix: str, outputs: Mapping[str, StoredObject]) -> dict[str, StoredObject]:
    """The outputs below a prefix, by the rest of their keys."""
    return {key.removeprefix(prefix): stored for key, stored in outputs.items() if key.startswith(prefix)}

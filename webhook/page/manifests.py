"""Reads the manifests of results for the page."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from webhook.config import Pipeline
from webhook.outputs.keys import KeyTooLong, output_key
from webhook.storage import ObjectStore, StoreError
from workers.manifest import MAX_BYTES, Manifest
from workers.protocol import MANIFEST

_MOST_LABELS = 5
_UNSHOWN = ("thumbhash",)


@dataclass(frozen=True, slots=True)
class ManifestRead:
    """The manifest of a result, or why there is none to show."""

    manifest: Manifest | None
    problem: str = ""


async def read_manifest(store: ObjectStore, pipeline: Pipeline, key: str) -> ManifestRead:
    """Read the manifest of an object's result."""
    try:
        content = await store.read(pipeline.output.bucket, output_key(pipeline, key, MANIFEST), MAX_BYTES)
    except (StoreError, KeyTooLong) as error:
        return ManifestRead(None, f"The manifest cannot be read: {error}")
    if content is None:
        return ManifestRead(None, "The manifest is gone from the output bucket.")
    try:
        return ManifestRead(Manifest.decode(content[0]))
    except ValueError:
        return ManifestRead(None, "The manifest is damaged: an overwrite of the input makes a new one.")


def short_labels(read: ManifestRead) -> list[tuple[str, str]]:
    """The first labels that can be said in a word, for a tile."""
    labels = read.manifest.labels if read.manifest else {}
    words = [(name, _word(value)) for name, value in labels.items() if name not in _UNSHOWN]
    return [(name, word) for name, word in words if word][:_MOST_LABELS]


def _word(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return str(value) if isinstance(value, str | int | float) else ""

"""Verifies every result of the demo: pixels, metadata, ETags, leases, and the counts of ledger and bucket."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator

import pyvips

from infra.demo.inventory import METADATA, Inventory, PhotoResult
from infra.demo.photos import ExpectedRefusal, ExpectedResult
from infra.demo.results import StoredObject
from infra.demo.sample_images import Colour, Corners, square_centres
from infra.demo.verify_checks import problems_of_checks
from workers.handlers.photo.options import PhotoOptions
from workers.manifest import Manifest
from workers.protocol import MANIFEST

_COLOUR_DISTANCE = 75
"""Most between a square's colour and what a thumbnail shows of it. The closest two of the colours are 140 apart."""
_CLEAR = 40
"""Most alpha in the middle of a window."""
_PRIVATE = ("exif-data", "xmp-data", "iptc-data")
_HEX = re.compile(r"#[0-9a-f]{6}")


def problems(inventory: Inventory) -> list[str]:
    """Everything that is wrong, a sentence each. Empty: every result is verified."""
    wrong = [f"{result.key}: {problem}" for result in inventory.results for problem in _of(result, inventory)]
    wrong += [f"{key}: belongs to none of the uploaded photos" for key in inventory.unexpected]
    return [*wrong, *_of_ledger(inventory)]


def _of(result: PhotoResult, inventory: Inventory) -> Iterator[str]:
    newest = hashlib.md5(result.photo.content, usedforsecurity=False).hexdigest()
    if result.etag != newest:
        yield f"the bucket holds {result.etag or 'nothing'}, uploaded last was {newest}"
    if isinstance(result.photo.expected, ExpectedRefusal):
        yield from _of_refused(result, result.photo.expected)
    else:
        yield from _of_done(result, result.photo.expected, inventory, newest)


def _of_refused(result: PhotoResult, refused: ExpectedRefusal) -> Iterator[str]:
    if result.outputs:
        yield f"it cannot be read, yet it has results: {', '.join(sorted(result.outputs))}"
    parked = result.parked
    if parked is None:
        yield "it cannot be read, yet it is not parked"
    elif parked.reason != refused.reason or refused.message_part not in parked.message:
        expected = f"expected {refused.reason} with the words “{refused.message_part}”"
        yield f"parked as {parked.reason} ({parked.message}), {expected}"


def _of_done(result: PhotoResult, expected: ExpectedResult, inventory: Inventory, etag: str) -> Iterator[str]:
    if result.parked:
        yield f"parked: {result.parked.message}"
    names = {MANIFEST, METADATA, *(f"{size}.webp" for size in inventory.options.sizes)}
    if missing := sorted(names - set(result.outputs)):
        yield f"no {', '.join(missing)}"
    if unexpected := sorted(set(result.outputs) - names):
        yield f"unexpected {', '.join(unexpected)}"
    yield from _of_manifest(result, inventory, etag)
    if stored := result.outputs.get(METADATA):
        yield from _of_metadata(stored, expected, inventory.options)
    yield from problems_of_checks(result, inventory)
    for size in inventory.options.sizes:
        if thumbnail := result.outputs.get(f"{size}.webp"):
            yield from (f"{size}.webp: {problem}" for problem in _of_thumbnail(thumbnail, size, expected))


def _of_manifest(result: PhotoResult, inventory: Inventory, etag: str) -> Iterator[str]:
    manifest = result.manifest
    if manifest is None:
        if MANIFEST in result.outputs:
            yield f"{MANIFEST}: is no manifest"
        return
    about = (manifest.pipeline, manifest.bucket, manifest.key, manifest.handler)
    if about != (inventory.name, inventory.pipeline.input.bucket, result.key, inventory.pipeline.handler):
        yield f"{MANIFEST}: is about {about}"
    if manifest.input.etag != etag:
        yield f"{MANIFEST}: made from {manifest.input.etag}, the newest content is {etag}"
    listed = {output.name: output.etag for output in manifest.outputs}
    stored = {name: output.etag for name, output in result.outputs.items() if name != MANIFEST}
    for name in sorted(listed.keys() | stored.keys()):
        if listed.get(name) != stored.get(name):
            yield f"{MANIFEST}: lists {name} with ETag {listed.get(name)}, the store has {stored.get(name)}"
    yield from _of_fences(result, manifest, etag)


def _of_fences(result: PhotoResult, manifest: Manifest, etag: str) -> Iterator[str]:
    """Check that every output was written under the lease that the manifest names."""
    expected = {"yurt-token": str(manifest.token), "yurt-input-etag": etag}
    for name, stored in result.outputs.items():
        metadata = stored.metadata or {}
        if any(metadata.get(field) != value for field, value in expected.items()):
            yield f"{name}: belongs to lease {metadata.get('yurt-token')}, the manifest to {manifest.token}"


def _of_metadata(stored: StoredObject, expected: ExpectedResult, options: PhotoOptions) -> Iterator[str]:
    try:
        metadata = json.loads(stored.content)
    except ValueError:
        yield f"{METADATA}: is not JSON"
        return
    for field, value in expected.metadata().items():
        if field not in metadata or metadata[field] != value:
            yield f"{METADATA}: {field} is {metadata.get(field)!r}, expected {value!r}"
    if not options.gps and "gps" in metadata:
        yield f"{METADATA}: holds the position where the photo was taken"
    if not _HEX.fullmatch(str(metadata.get("dominant_colour"))):
        yield f"{METADATA}: dominant_colour is {metadata.get('dominant_colour')!r}"


def _of_thumbnail(stored: StoredObject, size: int, expected: ExpectedResult) -> Iterator[str]:
    if stored.content_type != "image/webp":
        yield f"is served as {stored.content_type}"
    try:
        image = pyvips.Image.webpload_buffer(stored.content).copy_memory()
    except pyvips.Error as error:
        yield f"cannot be read: {error}"
        return
    if private := [field for field in _PRIVATE if image.get_typeof(field)]:
        yield f"carries {', '.join(private)}"
    width, height = _fitted(expected, size)
    if abs(image.width - width) > 1 or abs(image.height - height) > 1:
        yield f"has {image.width} × {image.height} pixels, expected {width} × {height}"
        return
    if expected.corners and (shown := _shown(image)) != expected.corners:
        yield f"shows the corners {_names(shown)}, expected {_names(expected.corners)}"
    if expected.window and not _has_window(image):
        yield "is not clear in the middle"


def _fitted(expected: ExpectedResult, size: int) -> tuple[int, int]:
    """Width and height of a thumbnail: fitted into a square of this size, never enlarged."""
    factor = min(1.0, size / max(expected.width, expected.height))
    return round(expected.width * factor), round(expected.height * factor)


def _shown(image: pyvips.Image) -> tuple[Colour | None, ...]:
    return tuple(_colour(image, x, y) for x, y in square_centres(image.width, image.height))


def _colour(image: pyvips.Image, x: int, y: int) -> Colour | None:
    """The nearest of the colours at a point; None where none is near."""
    patch = image.colourspace("srgb").crop(x - 1, y - 1, 3, 3)
    mean = [patch[band].avg() for band in range(3)]
    distances = {colour: sum((a - b) ** 2 for a, b in zip(mean, colour.value, strict=True)) for colour in Colour}
    nearest = min(distances, key=distances.__getitem__)
    return nearest if distances[nearest] <= _COLOUR_DISTANCE**2 else None


def _names(corners: Corners | tuple[Colour | None, ...]) -> str:
    return "–".join(colour.name.lower() if colour else "other" for colour in corners)


def _has_window(image: pyvips.Image) -> bool:
    if not image.hasalpha():
        return False
    return bool(image.getpoint(image.width // 2, image.height // 2)[-1] <= _CLEAR)


def _of_ledger(inventory: Inventory) -> Iterator[str]:
    snapshot = inventory.snapshot
    expectations = [result.photo.expected for result in inventory.results]
    good = sum(isinstance(expected, ExpectedResult) for expected in expectations)
    for state, wanted in (("done", good), ("parked", len(expectations) - good)):
        if snapshot.objects(state) != wanted:
            yield f"the ledger has {snapshot.objects(state)} objects that are {state}, expected {wanted}"
    if others := snapshot.objects() - len(expectations):
        yield f"the ledger has {others:+} objects beside those uploaded"
    if snapshot.unaccounted:
        yield f"{snapshot.unaccounted} events or changes are unaccounted for"
    if snapshot.event("quarantined"):
        yield f"{snapshot.event('quarantined')} events could not be read"
    if snapshot.received < snapshot.hub.posted:
        yield f"the bucket posted {snapshot.hub.posted} events, {snapshot.received} arrived"
    if lost := snapshot.hub.dropped + snapshot.hub.discarded + snapshot.hub.given_up:
        yield f"the bucket lost {lost} events on their way"
    yield from _of_workers(inventory)


def _of_workers(inventory: Inventory) -> Iterator[str]:
    snapshot = inventory.snapshot
    if not snapshot.minted:
        yield "no worker was minted"
    if snapshot.workers() or snapshot.slain != snapshot.minted:
        yield f"{snapshot.minted} workers were minted, {snapshot.slain} slain, {snapshot.workers()} are left"

"""Whether every result is right. Nothing is taken on trust: pixels, ETags and counts are all looked at."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator

import pyvips

from infra.demo.inventory import METADATA, Inventory, PhotoResult
from infra.demo.photos import ExpectedRefusal, ExpectedResult
from infra.demo.results import Stored
from infra.demo.sample_images import Colour, Corners, square_centres
from workers.handlers.photo.options import PhotoOptions
from workers.manifest import Manifest
from workers.protocol import MANIFEST

_COLOUR_DISTANCE = 75
"""Between a square's colour and what a thumbnail shows of it. The closest two of the colours are 140 apart."""
_CLEAR = 40
"""Alpha: at most this in the middle of a window."""
_PRIVATE = ("exif-data", "xmp-data", "iptc-data")
_HEX = re.compile(r"#[0-9a-f]{6}")


def faults(found: Inventory) -> list[str]:
    """All that is wrong, a sentence each; none: verified."""
    wrong = [f"{finding.key}: {fault}" for finding in found.findings for fault in _of(finding, found)]
    wrong += [f"{stray}: nobody should have put this there" for stray in found.strays]
    return [*wrong, *_of_ledger(found)]


def _of(finding: PhotoResult, found: Inventory) -> Iterator[str]:
    newest = hashlib.md5(finding.photo.content, usedforsecurity=False).hexdigest()
    if finding.etag != newest:
        yield f"the bucket holds {finding.etag or 'nothing'}, uploaded last was {newest}"
    if isinstance(finding.photo.outcome, ExpectedRefusal):
        yield from _of_refused(finding, finding.photo.outcome)
    else:
        yield from _of_done(finding, finding.photo.outcome, found, newest)


def _of_refused(finding: PhotoResult, refused: ExpectedRefusal) -> Iterator[str]:
    if finding.outputs:
        yield f"it cannot be read, yet it has results: {', '.join(sorted(finding.outputs))}"
    parked = finding.parked
    if parked is None:
        yield "it cannot be read, yet it is not parked"
    elif parked.reason != refused.reason or refused.words not in parked.message:
        yield (
            f"parked as {parked.reason} ({parked.message}), expected {refused.reason} with the words “{refused.words}”"
        )


def _of_done(finding: PhotoResult, expected: ExpectedResult, found: Inventory, etag: str) -> Iterator[str]:
    if finding.parked:
        yield f"parked: {finding.parked.message}"
    names = {MANIFEST, METADATA, *(f"{size}.webp" for size in found.options.sizes)}
    if missing := sorted(names - set(finding.outputs)):
        yield f"no {', '.join(missing)}"
    if unexpected := sorted(set(finding.outputs) - names):
        yield f"unexpected {', '.join(unexpected)}"
    yield from _of_manifest(finding, found, etag)
    if stored := finding.outputs.get(METADATA):
        yield from _of_metadata(stored, expected, found.options)
    for size in found.options.sizes:
        if thumbnail := finding.outputs.get(f"{size}.webp"):
            yield from (f"{size}.webp: {fault}" for fault in _of_thumbnail(thumbnail, size, expected))


def _of_manifest(finding: PhotoResult, found: Inventory, etag: str) -> Iterator[str]:
    manifest = finding.manifest
    if manifest is None:
        if MANIFEST in finding.outputs:
            yield f"{MANIFEST}: is no manifest"
        return
    about = (manifest.pipeline, manifest.bucket, manifest.key, manifest.handler)
    if about != (found.name, found.pipeline.input.bucket, finding.key, found.pipeline.handler):
        yield f"{MANIFEST}: is about {about}"
    if manifest.input.etag != etag:
        yield f"{MANIFEST}: made from {manifest.input.etag}, the newest content is {etag}"
    named = {output.name: output.etag for output in manifest.outputs}
    stored = {name: output.etag for name, output in finding.outputs.items() if name != MANIFEST}
    for name in sorted(named.keys() | stored.keys()):
        if named.get(name) != stored.get(name):
            yield f"{MANIFEST}: says {named.get(name)} of {name}, the store {stored.get(name)}"
    yield from _of_fences(finding, manifest, etag)


def _of_fences(finding: PhotoResult, manifest: Manifest, etag: str) -> Iterator[str]:
    """Whether every output was written under the one lease that the manifest names."""
    fence = {"yurt-token": str(manifest.token), "yurt-input-etag": etag}
    for name, stored in finding.outputs.items():
        metadata = stored.metadata or {}
        if any(metadata.get(field) != value for field, value in fence.items()):
            yield f"{name}: belongs to lease {metadata.get('yurt-token')}, the manifest to {manifest.token}"


def _of_metadata(stored: Stored, expected: ExpectedResult, options: PhotoOptions) -> Iterator[str]:
    try:
        found = json.loads(stored.content)
    except ValueError:
        yield f"{METADATA}: is not JSON"
        return
    for field, value in expected.metadata().items():
        if field not in found or found[field] != value:
            yield f"{METADATA}: {field} is {found.get(field)!r}, expected {value!r}"
    if not options.gps and "gps" in found:
        yield f"{METADATA}: tells where the photo was taken"
    if not _HEX.fullmatch(str(found.get("dominant_colour"))):
        yield f"{METADATA}: dominant_colour is {found.get('dominant_colour')!r}"


def _of_thumbnail(stored: Stored, size: int, expected: ExpectedResult) -> Iterator[str]:
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
    """Width and height of a picture that fits into the box, never enlarged."""
    factor = min(1.0, size / max(expected.width, expected.height))
    return round(expected.width * factor), round(expected.height * factor)


def _shown(image: pyvips.Image) -> tuple[Colour | None, ...]:
    return tuple(_colour(image, x, y) for x, y in square_centres(image.width, image.height))


def _colour(image: pyvips.Image, x: int, y: int) -> Colour | None:
    """Which of the colours is there; None where it is near none."""
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


def _of_ledger(found: Inventory) -> Iterator[str]:
    last = found.last
    outcomes = [finding.photo.outcome for finding in found.findings]
    expected = sum(isinstance(outcome, ExpectedResult) for outcome in outcomes)
    for state, wanted in (("done", expected), ("parked", len(outcomes) - expected)):
        if last.objects(state) != wanted:
            yield f"the ledger has {last.objects(state)} objects that are {state}, expected {wanted}"
    if others := last.objects() - len(outcomes):
        yield f"the ledger has {others:+} objects beside those uploaded"
    if last.unaccounted:
        yield f"{last.unaccounted} events or changes are unaccounted for"
    if last.event("quarantined"):
        yield f"{last.event('quarantined')} events could not be read"
    if last.received < last.hub.posted:
        yield f"the bucket posted {last.hub.posted} events, {last.received} arrived"
    if lost := last.hub.dropped + last.hub.discarded + last.hub.given_up:
        yield f"the bucket lost {lost} events on their way"
    yield from _of_workers(found)


def _of_workers(found: Inventory) -> Iterator[str]:
    last = found.last
    if not last.minted:
        yield "no worker was minted"
    if last.workers() or last.slain != last.minted:
        yield f"{last.minted} workers were minted, {last.slain} slain, {last.workers()} are left"

"""Verification must notice each thing that can be wrong: every test here spoils one thing of what is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import pyvips

from infra.demo.inventory import Inventory, PhotoResult
from infra.demo.results import Stored
from infra.demo.verify import faults
from infra.demo.watch import ParkedPhoto
from tests.infra.demo.fixtures import TOKEN, etag, snapshot, stored
from workers.manifest import Manifest
from workers.protocol import MANIFEST

TURNED = "uploads/orientation-6.jpg"


def spoilt(found: Inventory, key: str, change: Callable[[PhotoResult], PhotoResult]) -> Inventory:
    return replace(found, findings=[change(one) if one.key == key else one for one in found.findings])


def finding(found: Inventory, key: str) -> PhotoResult:
    return next(one for one in found.findings if one.key == key)


def with_output(found: Inventory, key: str, name: str, content: bytes, content_type: str = "image/webp") -> Inventory:
    """Another content in place of one output, as if the worker had published just that: its manifest fits."""
    one = finding(found, key)
    outputs = {**one.outputs, name: stored(content, content_type, str(one.etag))}
    manifest = one.manifest
    assert manifest
    named = tuple(o.model_copy(update={"etag": etag(content)}) if o.name == name else o for o in manifest.outputs)
    outputs[MANIFEST] = stored(
        manifest.model_copy(update={"outputs": named}).encode(), "application/json", str(one.etag)
    )
    return spoilt(found, key, lambda it: replace(it, outputs=outputs))


def webp(image: pyvips.Image, **options: object) -> bytes:
    return bytes(image.webpsave_buffer(**{"keep": "none", **options}))


def picture(found: Inventory, key: str, name: str) -> pyvips.Image:
    return pyvips.Image.webpload_buffer(finding(found, key).outputs[name].content)


def test_what_is_right_has_no_fault(found: Inventory) -> None:
    assert faults(found) == []


@pytest.mark.parametrize("turn", ["rot180", "fliphor", "flipver"])
def test_a_turned_thumbnail(found: Inventory, turn: str) -> None:
    image = getattr(picture(found, TURNED, "512.webp"), turn)()
    [fault] = faults(with_output(found, TURNED, "512.webp", webp(image)))
    assert fault.startswith(f"{TURNED}: 512.webp: shows the corners ")


def test_a_thumbnail_left_as_it_was_stored(found: Inventory) -> None:
    image = picture(found, TURNED, "256.webp").rot270()
    [fault] = faults(with_output(found, TURNED, "256.webp", webp(image)))
    assert "171 × 256 pixels, expected 256 × 171" in fault


def test_a_thumbnail_that_was_enlarged(found: Inventory) -> None:
    image = picture(found, "uploads/tiny.jpg", "512.webp").resize(4)
    [fault] = faults(with_output(found, "uploads/tiny.jpg", "512.webp", webp(image)))
    assert "480 × 360 pixels, expected 120 × 90" in fault


def test_a_thumbnail_that_tells_where_it_was_taken(found: Inventory) -> None:
    image = picture(found, TURNED, "512.webp").copy()
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd3-GPSLatitudeRef", "N")
    [fault] = faults(with_output(found, TURNED, "512.webp", webp(image, keep="exif")))
    assert fault == f"{TURNED}: 512.webp: carries exif-data"


def test_a_window_that_was_painted_over(found: Inventory) -> None:
    image = picture(found, "uploads/alpha.png", "512.webp").flatten()
    [fault] = faults(with_output(found, "uploads/alpha.png", "512.webp", webp(image)))
    assert fault.endswith("512.webp: is not clear in the middle")


def test_another_photos_thumbnail(found: Inventory) -> None:
    other = finding(found, "uploads/alpha.png").outputs["512.webp"]
    swapped = spoilt(found, TURNED, lambda it: replace(it, outputs={**it.outputs, "512.webp": other}))
    said = "\n".join(faults(swapped))
    assert "result.json: says" in said
    assert "pixels, expected 512 × 341" in said


def test_bytes_that_are_no_picture(found: Inventory) -> None:
    [fault] = faults(with_output(found, TURNED, "512.webp", b"nothing"))
    assert "512.webp: cannot be read" in fault


@pytest.mark.parametrize("name", ["256.webp", "metadata.json", MANIFEST])
def test_an_output_that_is_missing(found: Inventory, name: str) -> None:
    without = {other: one for other, one in finding(found, TURNED).outputs.items() if other != name}
    assert f"{TURNED}: no {name}" in faults(spoilt(found, TURNED, lambda it: replace(it, outputs=without)))


def test_an_output_too_many(found: Inventory) -> None:
    more = {**finding(found, TURNED).outputs, "64.webp": Stored("x", b"")}
    assert f"{TURNED}: unexpected 64.webp" in faults(spoilt(found, TURNED, lambda it: replace(it, outputs=more)))


def test_an_object_that_belongs_to_nobody(found: Inventory) -> None:
    said = faults(replace(found, strays=["photos-out/results/a/512.webp"]))
    assert said == ["photos-out/results/a/512.webp: nobody should have put this there"]


def test_a_result_of_older_content(found: Inventory) -> None:
    one = finding(found, TURNED)
    manifest = Manifest.decode(one.outputs[MANIFEST].content)
    older = manifest.model_copy(update={"input": manifest.input.model_copy(update={"etag": "0" * 32})})
    changed = {**one.outputs, MANIFEST: stored(older.encode(), "application/json", str(one.etag))}
    [fault] = faults(spoilt(found, TURNED, lambda it: replace(it, outputs=changed)))
    assert "made from 00000000000000000000000000000000, the newest content is" in fault


def test_an_upload_that_was_lost(found: Inventory) -> None:
    [fault] = faults(spoilt(found, TURNED, lambda it: replace(it, etag="1" * 32)))
    assert "the bucket holds 11111111111111111111111111111111, uploaded last was" in fault


def test_outputs_of_two_leases(found: Inventory) -> None:
    one = finding(found, TURNED)
    mixed = replace(one.outputs["256.webp"], metadata={"yurt-token": "40", "yurt-input-etag": str(one.etag)})
    changed = {**one.outputs, "256.webp": mixed}
    [fault] = faults(spoilt(found, TURNED, lambda it: replace(it, outputs=changed)))
    assert fault == f"{TURNED}: 256.webp: belongs to lease 40, the manifest to {TOKEN}"


def test_a_manifest_that_is_none(found: Inventory) -> None:
    junk = {**finding(found, TURNED).outputs, MANIFEST: Stored("x", b"{}")}
    assert faults(spoilt(found, TURNED, lambda it: replace(it, outputs=junk))) == [
        f"{TURNED}: result.json: is no manifest"
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 800}, "width is 800, expected 1200"),
        ({"captured_at": None}, "captured_at is None"),
        ({"gps": {"latitude": 1}}, "tells where the photo was taken"),
        ({"dominant_colour": "red"}, "dominant_colour is 'red'"),
    ],
)
def test_metadata_that_is_wrong(found: Inventory, change: dict[str, object], words: str) -> None:
    said = json.loads(finding(found, TURNED).outputs["metadata.json"].content) | change
    [fault] = faults(with_output(found, TURNED, "metadata.json", json.dumps(said).encode(), "application/json"))
    assert words in fault


def test_a_broken_file_that_is_not_parked(found: Inventory) -> None:
    said = faults(spoilt(found, "uploads/truncated.jpg", lambda it: replace(it, parked=None)))
    assert said == ["uploads/truncated.jpg: it cannot be read, yet it is not parked"]


@pytest.mark.parametrize("reason", ["crashed", "unreadable"])
def test_a_broken_file_parked_without_a_reason_for_people(found: Inventory, reason: str) -> None:
    parked = ParkedPhoto("uploads/truncated.jpg", reason, "VipsJpeg: error 42")
    [fault] = faults(spoilt(found, "uploads/truncated.jpg", lambda it: replace(it, parked=parked)))
    assert f"parked as {reason} (VipsJpeg: error 42), expected unreadable" in fault


def test_a_broken_file_with_results(found: Inventory) -> None:
    half = {"256.webp": finding(found, TURNED).outputs["256.webp"]}
    [fault] = faults(spoilt(found, "uploads/truncated.jpg", lambda it: replace(it, outputs=half)))
    assert "it cannot be read, yet it has results: 256.webp" in fault


def test_a_good_file_that_is_parked(found: Inventory) -> None:
    parked = ParkedPhoto(TURNED, "crashed", "Out of memory.")
    assert f"{TURNED}: parked: Out of memory." in faults(spoilt(found, TURNED, lambda it: replace(it, parked=parked)))


POOLS = {"local": {"limit": 2, "machines": {"draining": 1}, "minted": 2, "slain": 1}}
NO_POOLS = {"local": {"limit": 2, "machines": {}, "minted": 0, "slain": 0}}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"unaccounted": {"events": 0, "changes": -1}}, "1 events or changes are unaccounted for"),
        ({"unrouted": {"quarantined": 3}}, "3 events could not be read"),
        ({"pools": POOLS}, "2 workers were minted, 1 slain, 1 are left"),
        ({"pools": NO_POOLS}, "no worker was minted"),
    ],
)
def test_numbers_that_do_not_add_up(found: Inventory, status: dict[str, object], words: str) -> None:
    last = snapshot([one.photo for one in found.findings], found.last.status["parked"], **status)
    assert faults(replace(found, last=last)) == [words]


def test_an_object_that_is_still_pending(found: Inventory) -> None:
    photos = [one.photo for one in found.findings]
    last = snapshot(photos, found.last.status["parked"])
    last.status["pipelines"]["photos"]["objects"] = {"done": len(photos) - 2, "parked": 1, "pending": 1}
    [fault] = faults(replace(found, last=last))
    assert "objects that are done, expected" in fault


@pytest.mark.parametrize("lost", ["dropped", "discarded", "given_up"])
def test_events_that_were_lost(found: Inventory, lost: str) -> None:
    hub = found.last.hub.model_copy(update={lost: 2})
    assert faults(replace(found, last=replace(found.last, hub=hub))) == ["the bucket lost 2 events on their way"]

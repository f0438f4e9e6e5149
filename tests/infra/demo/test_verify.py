"""Verification must notice each thing that can be wrong: every test here spoils result thing of what is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import pyvips

from infra.demo.inventory import Inventory, PhotoResult
from infra.demo.results import StoredObject
from infra.demo.verify import problems
from infra.demo.watch import ParkedPhoto
from tests.infra.demo.fixtures import TOKEN, etag, snapshot, stored_object
from workers.manifest import Manifest
from workers.protocol import MANIFEST

TURNED = "uploads/orientation-6.jpg"


def spoilt(inventory: Inventory, key: str, change: Callable[[PhotoResult], PhotoResult]) -> Inventory:
    return replace(inventory, results=[change(result) if result.key == key else result for result in inventory.results])


def result_of(inventory: Inventory, key: str) -> PhotoResult:
    return next(result for result in inventory.results if result.key == key)


def with_output(
    inventory: Inventory, key: str, name: str, content: bytes, content_type: str = "image/webp"
) -> Inventory:
    """Another content in place of an output, with a manifest that fits, as if the worker had published it."""
    result = result_of(inventory, key)
    outputs = {**result.outputs, name: stored_object(content, content_type, str(result.etag))}
    manifest = result.manifest
    assert manifest
    named = tuple(o.model_copy(update={"etag": etag(content)}) if o.name == name else o for o in manifest.outputs)
    outputs[MANIFEST] = stored_object(
        manifest.model_copy(update={"outputs": named}).encode(), "application/json", str(result.etag)
    )
    return spoilt(inventory, key, lambda result: replace(result, outputs=outputs))


def webp(image: pyvips.Image, **options: object) -> bytes:
    return bytes(image.webpsave_buffer(**{"keep": "none", **options}))


def picture(inventory: Inventory, key: str, name: str) -> pyvips.Image:
    return pyvips.Image.webpload_buffer(result_of(inventory, key).outputs[name].content)


def test_what_is_right_has_no_fault(inventory: Inventory) -> None:
    assert problems(inventory) == []


@pytest.mark.parametrize("turn", ["rot180", "fliphor", "flipver"])
def test_a_turned_thumbnail(inventory: Inventory, turn: str) -> None:
    image = getattr(picture(inventory, TURNED, "512.webp"), turn)()
    [problem] = problems(with_output(inventory, TURNED, "512.webp", webp(image)))
    assert problem.startswith(f"{TURNED}: 512.webp: shows the corners ")


def test_a_thumbnail_left_as_it_was_stored(inventory: Inventory) -> None:
    image = picture(inventory, TURNED, "256.webp").rot270()
    [problem] = problems(with_output(inventory, TURNED, "256.webp", webp(image)))
    assert "171 × 256 pixels, expected 256 × 171" in problem


def test_a_thumbnail_that_was_enlarged(inventory: Inventory) -> None:
    image = picture(inventory, "uploads/tiny.jpg", "512.webp").resize(4)
    [problem] = problems(with_output(inventory, "uploads/tiny.jpg", "512.webp", webp(image)))
    assert "480 × 360 pixels, expected 120 × 90" in problem


def test_a_thumbnail_that_tells_where_it_was_taken(inventory: Inventory) -> None:
    image = picture(inventory, TURNED, "512.webp").copy()
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd3-GPSLatitudeRef", "N")
    [problem] = problems(with_output(inventory, TURNED, "512.webp", webp(image, keep="exif")))
    assert problem == f"{TURNED}: 512.webp: carries exif-data"


def test_a_window_that_was_painted_over(inventory: Inventory) -> None:
    image = picture(inventory, "uploads/alpha.png", "512.webp").flatten()
    [problem] = problems(with_output(inventory, "uploads/alpha.png", "512.webp", webp(image)))
    assert problem.endswith("512.webp: is not clear in the middle")


def test_another_photos_thumbnail(inventory: Inventory) -> None:
    other = result_of(inventory, "uploads/alpha.png").outputs["512.webp"]
    swapped = spoilt(inventory, TURNED, lambda result: replace(result, outputs={**result.outputs, "512.webp": other}))
    wrong = "\n".join(problems(swapped))
    assert "result.json: lists" in wrong
    assert "pixels, expected 512 × 341" in wrong


def test_bytes_that_are_no_picture(inventory: Inventory) -> None:
    [problem] = problems(with_output(inventory, TURNED, "512.webp", b"nothing"))
    assert "512.webp: cannot be read" in problem


@pytest.mark.parametrize("name", ["256.webp", "metadata.json", MANIFEST])
def test_an_output_that_is_missing(inventory: Inventory, name: str) -> None:
    without = {other: stored for other, stored in result_of(inventory, TURNED).outputs.items() if other != name}
    assert f"{TURNED}: no {name}" in problems(
        spoilt(inventory, TURNED, lambda result: replace(result, outputs=without))
    )


def test_an_output_too_many(inventory: Inventory) -> None:
    more = {**result_of(inventory, TURNED).outputs, "64.webp": StoredObject("x", b"")}
    assert f"{TURNED}: unexpected 64.webp" in problems(
        spoilt(inventory, TURNED, lambda result: replace(result, outputs=more))
    )


def test_an_object_that_belongs_to_no_photo(inventory: Inventory) -> None:
    wrong = problems(replace(inventory, unexpected=["photos-out/results/a/512.webp"]))
    assert wrong == ["photos-out/results/a/512.webp: belongs to none of the uploaded photos"]


def test_a_result_of_older_content(inventory: Inventory) -> None:
    result = result_of(inventory, TURNED)
    manifest = Manifest.decode(result.outputs[MANIFEST].content)
    older = manifest.model_copy(update={"input": manifest.input.model_copy(update={"etag": "0" * 32})})
    changed = {**result.outputs, MANIFEST: stored_object(older.encode(), "application/json", str(result.etag))}
    [problem] = problems(spoilt(inventory, TURNED, lambda result: replace(result, outputs=changed)))
    assert "made from 00000000000000000000000000000000, the newest content is" in problem


def test_an_upload_that_was_lost(inventory: Inventory) -> None:
    [problem] = problems(spoilt(inventory, TURNED, lambda result: replace(result, etag="1" * 32)))
    assert "the bucket holds 11111111111111111111111111111111, uploaded last was" in problem


def test_outputs_of_two_leases(inventory: Inventory) -> None:
    result = result_of(inventory, TURNED)
    mixed = replace(result.outputs["256.webp"], metadata={"yurt-token": "40", "yurt-input-etag": str(result.etag)})
    changed = {**result.outputs, "256.webp": mixed}
    [problem] = problems(spoilt(inventory, TURNED, lambda result: replace(result, outputs=changed)))
    assert problem == f"{TURNED}: 256.webp: belongs to lease 40, the manifest to {TOKEN}"


def test_a_manifest_that_is_none(inventory: Inventory) -> None:
    junk = {**result_of(inventory, TURNED).outputs, MANIFEST: StoredObject("x", b"{}")}
    assert problems(spoilt(inventory, TURNED, lambda result: replace(result, outputs=junk))) == [
        f"{TURNED}: result.json: is no manifest"
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 800}, "width is 800, expected 1200"),
        ({"captured_at": None}, "captured_at is None"),
        ({"gps": {"latitude": 1}}, "holds the position where the photo was taken"),
        ({"dominant_colour": "red"}, "dominant_colour is 'red'"),
    ],
)
def test_metadata_that_is_wrong(inventory: Inventory, change: dict[str, object], words: str) -> None:
    metadata = json.loads(result_of(inventory, TURNED).outputs["metadata.json"].content) | change
    [problem] = problems(
        with_output(inventory, TURNED, "metadata.json", json.dumps(metadata).encode(), "application/json")
    )
    assert words in problem


def test_a_broken_file_that_is_not_parked(inventory: Inventory) -> None:
    wrong = problems(spoilt(inventory, "uploads/truncated.jpg", lambda result: replace(result, parked=None)))
    assert wrong == ["uploads/truncated.jpg: it cannot be read, yet it is not parked"]


@pytest.mark.parametrize("reason", ["crashed", "unreadable"])
def test_a_broken_file_parked_without_a_reason_for_people(inventory: Inventory, reason: str) -> None:
    parked = ParkedPhoto("uploads/truncated.jpg", reason, "VipsJpeg: error 42")
    [problem] = problems(spoilt(inventory, "uploads/truncated.jpg", lambda result: replace(result, parked=parked)))
    assert f"parked as {reason} (VipsJpeg: error 42), expected unreadable" in problem


def test_a_broken_file_with_results(inventory: Inventory) -> None:
    half = {"256.webp": result_of(inventory, TURNED).outputs["256.webp"]}
    [problem] = problems(spoilt(inventory, "uploads/truncated.jpg", lambda result: replace(result, outputs=half)))
    assert "it cannot be read, yet it has results: 256.webp" in problem


def test_a_good_file_that_is_parked(inventory: Inventory) -> None:
    parked = ParkedPhoto(TURNED, "crashed", "Out of memory.")
    assert f"{TURNED}: parked: Out of memory." in problems(
        spoilt(inventory, TURNED, lambda result: replace(result, parked=parked))
    )


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
def test_numbers_that_do_not_add_up(inventory: Inventory, status: dict[str, object], words: str) -> None:
    last = snapshot([result.photo for result in inventory.results], inventory.snapshot.status["parked"], **status)
    assert problems(replace(inventory, snapshot=last)) == [words]


def test_an_object_that_is_still_pending(inventory: Inventory) -> None:
    photos = [result.photo for result in inventory.results]
    last = snapshot(photos, inventory.snapshot.status["parked"])
    last.status["pipelines"]["photos"]["objects"] = {"done": len(photos) - 2, "parked": 1, "pending": 1}
    [problem] = problems(replace(inventory, snapshot=last))
    assert "objects that are done, expected" in problem


@pytest.mark.parametrize("lost", ["dropped", "discarded", "given_up"])
def test_events_that_were_lost(inventory: Inventory, lost: str) -> None:
    hub = inventory.snapshot.hub.model_copy(update={lost: 2})
    assert problems(replace(inventory, snapshot=replace(inventory.snapshot, hub=hub))) == [
        "the bucket lost 2 events on their way"
    ]

from __future__ import annotations

from infra.demo.inventory import Inventory, take_inventory
from infra.demo.photos import ExpectedRefusal, SamplePhoto
from infra.demo.results import StoredObject
from tests.infra.demo.fixtures import PIPELINE, snapshot

A = SamplePhoto("a.jpg", "", b"a", ExpectedRefusal("unreadable", ""))
AB = SamplePhoto("a.jpg/b.jpg", "", b"ab", ExpectedRefusal("unreadable", ""))
PARKED = {"key": "uploads/a.jpg", "reason": "unreadable", "message": "It holds text."}


def taken(inputs: dict[str, str], outputs: dict[str, StoredObject]) -> Inventory:
    photos = {"uploads/a.jpg": A, "uploads/c.jpg": AB}
    return take_inventory("photos", PIPELINE, photos, inputs, outputs, snapshot([A, AB], [PARKED]))


def test_outputs_and_parked_objects_belong_to_their_photos() -> None:
    first, second = taken(
        {"uploads/a.jpg": "1"},
        {
            "results/uploads/a.jpg/256.webp": StoredObject("x", b""),
            "results/uploads/c.jpg/512.webp": StoredObject("y", b""),
        },
    ).results
    assert (first.key, first.etag, [*first.outputs]) == ("uploads/a.jpg", "1", ["256.webp"])
    assert first.parked is not None
    assert first.parked.message == "It holds text."
    assert (second.etag, [*second.outputs], second.parked) == (None, ["512.webp"], None)


def test_an_object_that_belongs_to_no_photo_is_unexpected() -> None:
    inventory = taken(
        {"uploads/a.jpg": "1", "uploads/other.jpg": "2"},
        {"results/uploads/a.jpg": StoredObject("x", b""), "results/uploads/a.jpg2/256.webp": StoredObject("y", b"")},
    )
    assert inventory.unexpected == [
        "photos-in/uploads/other.jpg",
        "photos-out/results/uploads/a.jpg",
        "photos-out/results/uploads/a.jpg2/256.webp",
    ]


def test_an_object_that_is_no_manifest_is_none() -> None:
    junk = {"results/uploads/a.jpg/result.json": StoredObject("x", b"{}")}
    assert taken({}, junk).results[0].manifest is None
    assert taken({}, {}).results[0].manifest is None


def test_manifest_and_options_are_those_of_the_pipeline(inventory: Inventory) -> None:
    manifests = [result.manifest for result in inventory.results if not result.parked]
    assert manifests
    assert all(manifest and manifest.pipeline == "photos" for manifest in manifests)
    assert inventory.options.sizes == [256, 512, 1600]

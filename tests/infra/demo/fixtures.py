"""Processes photos without a pipeline: results by the real handler, with real manifests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.demo.inventory import Inventory, take_inventory
from infra.demo.photos import ExpectedRefusal, SamplePhoto
from infra.demo.results import StoredObject
from infra.demo.watch import DemoSnapshot, HubCounts
from webhook.config import Pipeline
from workers.handlers import HandlerError, Job
from workers.handlers.photo.handler import handle
from workers.manifest import Manifest, Seconds
from workers.protocol import MANIFEST, Output, Version

PIPELINE = Pipeline.model_validate({"input": "s3://photos-in/uploads/", "output": "s3://photos-out/results/"})
TOKEN = 41
FINISHED_AT = datetime(2026, 6, 1, 12, 0, 2, tzinfo=UTC)
"""Of every manifest."""
REPORT_KEYS = [
    *("uploads", "events", "duplicates", "stale", "coalesced", "quarantined", "done", "parked", "unchanged"),
    *("verdicts", "minted", "slain", "upload_to_result_ms", "seconds", "verified"),
]
"""Of the JSON object that ``yurt demo --json`` prints."""


def process_photos(photos: Sequence[SamplePhoto], folder: Path) -> Inventory:
    keyed = {f"{PIPELINE.input.prefix}{photo.name}": photo for photo in photos}
    outputs: dict[str, StoredObject] = {}
    parked = []
    for number, (key, photo) in enumerate(keyed.items()):
        work = folder / str(number)
        work.mkdir()
        try:
            for name, stored in _handled(key, photo, work).items():
                outputs[f"{PIPELINE.output.prefix}{key}/{name}"] = stored
        except HandlerError as error:
            parked.append({"key": key, "reason": error.reason, "message": error.message})
    inputs = {key: etag(photo.content) for key, photo in keyed.items()}
    return take_inventory("photos", PIPELINE, keyed, inputs, outputs, snapshot(photos, parked))


def snapshot(photos: Sequence[SamplePhoto], parked: Sequence[dict[str, str]] = (), **changes: Any) -> DemoSnapshot:
    """The status of a control plane that has processed these photos."""
    refused = sum(isinstance(photo.expected, ExpectedRefusal) for photo in photos)
    status: dict[str, Any] = {
        "pipelines": {
            "photos": {
                "events": {"received": len(photos) + 2, "accepted": len(photos), "duplicate": 2},
                "changes": {"done": len(photos) - refused},
                "objects": {"done": len(photos) - refused, "parked": refused},
            }
        },
        "unrouted": {},
        "pools": {"local": {"limit": 2, "machines": {}, "minted": 2, "slain": 2}},
        "parked": list(parked),
        "unaccounted": {"events": 0, "changes": 0},
    }
    hub = HubCounts(
        events=len(photos),
        duplicates=2,
        reordered=1,
        held=1,
        dropped=0,
        discarded=0,
        posted=len(photos) + 2,
        given_up=0,
        pending=0,
    )
    return DemoSnapshot(hub, status | changes, "photos", "local")


def etag(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def stored_object(content: bytes, content_type: str, input_etag: str) -> StoredObject:
    return StoredObject(etag(content), content, content_type, {"yurt-token": str(TOKEN), "yurt-input-etag": input_etag})


def _handled(key: str, photo: SamplePhoto, folder: Path) -> dict[str, StoredObject]:
    source, output, input_etag = folder / "input", folder / "output", etag(photo.content)
    source.write_bytes(photo.content)
    output.mkdir()
    result = handle(Job(source, output, key, input_etag, {}))
    outputs = {
        file.name: stored_object((output / file.name).read_bytes(), file.content_type, input_etag)
        for file in result.outputs
    }
    manifest = Manifest(
        pipeline="photos",
        bucket=PIPELINE.input.bucket,
        key=key,
        input=Version(etag=input_etag),
        token=TOKEN,
        attempt=1,
        handler="photo",
        outputs=tuple(
            Output(name=name, etag=stored.etag, size=len(stored.content), content_type=stored.content_type)
            for name, stored in outputs.items()
        ),
        seconds=Seconds(fetch=0.1, handle=1.5, publish=0.2),
        finished_at=FINISHED_AT,
    )
    return outputs | {MANIFEST: stored_object(manifest.encode(), "application/json", input_etag)}

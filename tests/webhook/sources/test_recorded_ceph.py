"""What a live Ceph gateway posted, read by the S3 source."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from webhook.events import EventKind, ObjectEvent
from webhook.sources import Batch
from webhook.sources.s3 import S3

FOLDER = Path(__file__).parent / "recorded" / "ceph-rgw-2"
RECORDED = sorted(FOLDER.glob("*.json"))
REFUSED = "010-sync-key-newline"


def recording(stem: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((FOLDER / f"{stem}.json").read_text(encoding="utf-8"))
    return parsed


def batches(stem: str) -> list[Batch]:
    return [S3().parse(request["body"].encode()) for request in recording(stem)["requests"]]


def events(stem: str) -> list[ObjectEvent]:
    read = batches(stem)
    assert not any(batch.quarantined for batch in read)
    return [event for batch in read for event in batch.events]


@pytest.mark.parametrize("stem", [path.stem for path in RECORDED if path.stem != REFUSED])
def test_each_request_tells_of_the_raw_key(stem: str) -> None:
    read, key = events(stem), recording(stem)["key"]
    assert read
    assert key is None or {event.key for event in read} == {key}
    assert all(event.bucket.startswith("rec2") for event in read)
    assert all((event.kind is EventKind.REMOVED) == ("delete" in stem) for event in read if key is not None)


def test_each_removal_but_that_of_a_delete_marker_names_what_was_removed() -> None:
    """Whether the object is gone, its etag does not say: each of these left another version behind."""
    named = {path.stem: events(path.stem)[0].version.etag for path in RECORDED if "-versioned-delete-" in path.stem}
    assert len(named) == 4
    assert [stem for stem, etag in named.items() if etag is None] == ["017-sync-versioned-delete-marker-removed"]


def test_a_key_that_no_path_can_name_goes_to_quarantine() -> None:
    (batch,) = batches(REFUSED)
    assert not batch.events
    assert [refused.reason for refused in batch.quarantined] == ["the key holds control characters"]


def test_racing_writers_are_not_ordered() -> None:
    """Those with an eventTime of zero lost to another, and their sequencers do not tell."""
    read = events("019-sync-eight-writers")
    assert len({event.mark for event in read}) == len({event.version.etag for event in read}) == 8
    assert not any(one.version.is_older_than(other.version) for one, other in permutations(read, 2))


def test_a_queue_that_waited_tells_each_change_once() -> None:
    read = events("020-pers-receiver-down")
    assert len({event.mark for event in read}) == len(read) == 9
    assert read[-1].kind is EventKind.REMOVED


def test_no_credential_was_recorded() -> None:
    headers = [tuple(h) for p in RECORDED for r in recording(p.stem)["requests"] for h in r["headers"]]
    credentials = {value for name, value in headers if name == "Authorization"}
    assert credentials == {"Basic REDACTED"}

"""Uploads to a real local bucket over HTTP."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from infra.demo.photos import ExpectedRefusal, SamplePhoto
from infra.demo.results import ResultsError, listing, read
from infra.demo.upload import PipelineSignals, UploadError, uploading
from infra.interrupts import Interrupts
from tests.infra.demo.fixtures import etag
from tests.infra.local.running import running
from tests.polling import wait_until

PHOTO = SamplePhoto("a.jpg", "", b"last", ExpectedRefusal("unreadable", ""))
OVERWRITTEN = replace(PHOTO, earlier=(b"first", b"second", b"third"))


def test_objects_arrive_under_their_names_and_are_read_back() -> None:
    names = ("uploads/a+b 100% 🏕 yurt.jpg", "uploads/2026/June/IMG.JPEG")
    photos = {name: replace(PHOTO, content=name.encode()) for name in names}
    with running("--bucket", "demo") as bucket:
        s3 = bucket.s3()
        with uploading(s3, "demo", photos, PipelineSignals()) as uploads:
            wait_until(lambda: uploads.finished)
        assert listing(s3, "demo") == {name: etag(name.encode()) for name in names}
        stored = read(s3, "demo", names, Interrupts())
    assert {name: each.content for name, each in stored.items()} == {name: name.encode() for name in names}
    assert {each.content_type for each in stored.values()} == {"image/jpeg"}
    assert uploads.completed.puts == 2
    assert set(uploads.completed.answered_at) == set(names)


def test_one_key_is_overwritten_while_it_is_in_flight() -> None:
    with running("--bucket", "demo") as bucket:
        s3, signals = bucket.s3(), PipelineSignals()
        with uploading(s3, "demo", {"a.jpg": OVERWRITTEN}, signals) as uploads:
            wait_until(lambda: uploads.completed.puts == 2)
            assert not uploads.finished
            signals.leased.set()
            wait_until(lambda: uploads.completed.puts == 3)
            assert listing(s3, "demo") == {"a.jpg": etag(b"third")}
            signals.published.set()
            wait_until(lambda: uploads.finished)
        assert listing(s3, "demo") == {"a.jpg": etag(b"last")}


def test_closing_waits_for_no_signal() -> None:
    with running("--bucket", "demo") as bucket:
        signals = PipelineSignals()
        with uploading(bucket.s3(), "demo", {"a.jpg": OVERWRITTEN}, signals) as uploads:
            wait_until(lambda: uploads.completed.puts == 2)
        signals.leased.set()
        assert uploads.finished
        assert uploads.completed.puts == 2
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("upload")]


def test_a_bucket_that_refuses() -> None:
    with running("--bucket", "demo") as bucket:
        s3 = bucket.s3()
        with (
            uploading(s3, "other", {"a.jpg": PHOTO}, PipelineSignals()) as uploads,
            pytest.raises(UploadError, match=r"did not take a\.jpg"),
        ):
            wait_until(lambda: uploads.finished)
        with pytest.raises(ResultsError, match="other cannot be read"):
            listing(s3, "other")

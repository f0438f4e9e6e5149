"""Against a real local bucket over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from infra.demo.photos import ExpectedRefusal, SamplePhoto
from infra.demo.results import ResultsError, listing, read
from infra.demo.upload import Moments, UploadError, uploading
from infra.interrupts import Interrupted, Stop
from tests.infra.demo.fixtures import etag
from tests.infra.local.running import running

PHOTO = SamplePhoto("a.jpg", "", b"last", ExpectedRefusal("unreadable", ""))
OVERWRITTEN = replace(PHOTO, earlier=(b"first", b"second", b"third"))


def until(reached: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_objects_arrive_under_their_names_and_are_read_back() -> None:
    names = ("uploads/a+b 100% 🏕 yurt.jpg", "uploads/2026/June/IMG.JPEG")
    photos = {name: replace(PHOTO, content=name.encode()) for name in names}
    with running("--bucket", "demo") as bucket:
        s3, stop = bucket.s3(), Stop()
        with uploading(s3, "demo", photos, Moments()) as uploads:
            until(lambda: uploads.finished)
        assert listing(s3, "demo") == {name: etag(name.encode()) for name in names}
        found = read(s3, "demo", names, stop)
    assert {name: one.content for name, one in found.items()} == {name: name.encode() for name in names}
    assert {one.content_type for one in found.values()} == {"image/jpeg"}
    assert uploads.answered.puts == 2
    assert set(uploads.answered.at) == set(names)


def test_one_key_is_overwritten_when_things_are_in_flight() -> None:
    with running("--bucket", "demo") as bucket:
        s3, moments = bucket.s3(), Moments()
        with uploading(s3, "demo", {"a.jpg": OVERWRITTEN}, moments) as uploads:
            until(lambda: uploads.answered.puts == 2)
            assert not uploads.finished
            moments.leased.set()
            until(lambda: uploads.answered.puts == 3)
            assert listing(s3, "demo") == {"a.jpg": etag(b"third")}
            moments.published.set()
            until(lambda: uploads.finished)
        assert listing(s3, "demo") == {"a.jpg": etag(b"last")}


def test_reading_stops_when_asked() -> None:
    stop = Stop()
    stop.times = 1
    with running("--bucket", "demo") as bucket, pytest.raises(Interrupted):
        read(bucket.s3(), "demo", ["a.jpg"], stop)


def test_closed_it_waits_for_no_moment() -> None:
    with running("--bucket", "demo") as bucket:
        moments = Moments()
        with uploading(bucket.s3(), "demo", {"a.jpg": OVERWRITTEN}, moments) as uploads:
            until(lambda: uploads.answered.puts == 2)
        moments.leased.set()
        assert uploads.finished
        assert uploads.answered.puts == 2
        assert not [one for one in threading.enumerate() if one.name.startswith("upload")]


def test_a_bucket_that_refuses() -> None:
    with running("--bucket", "demo") as bucket:
        s3 = bucket.s3()
        with (
            uploading(s3, "other", {"a.jpg": PHOTO}, Moments()) as uploads,
            pytest.raises(UploadError, match=r"did not take a\.jpg"),
        ):
            until(lambda: uploads.finished)
        with pytest.raises(ResultsError, match="other cannot be read"):
            listing(s3, "other")

from __future__ import annotations

import pytest

from infra.demo.photos import SamplePhoto
from infra.demo.watch import Watcher
from infra.interrupts import Interrupted, Interrupts
from infra.stack import Stack
from tests.infra.demo.fixtures import snapshot


def test_a_snapshot_adds_up_events_objects_and_workers(photos: dict[str, SamplePhoto]) -> None:
    pools = {"local": {"machines": {"ready": 2, "draining": 1}, "minted": 5, "slain": 2}}
    now = snapshot([*photos.values()], unrouted={"received": 3, "quarantined": 1}, pools=pools)
    assert (now.received, now.event("quarantined"), now.event("stale")) == (len(photos) + 5, 1, 0)
    assert (now.objects("done"), now.objects("parked"), now.objects()) == (len(photos) - 2, 2, len(photos))
    assert (now.workers("ready"), now.workers(), now.minted, now.slain) == (2, 3, 5, 2)
    assert now.change("done") == len(photos) - 2


def test_what_is_unaccounted_for_does_not_cancel_out() -> None:
    assert snapshot([], unaccounted={"events": 2, "changes": -2}).unaccounted == 4


def test_the_watcher_reads_bucket_and_control_plane(stack: Stack) -> None:
    with Watcher(stack, "photos", "local", Interrupts()) as watcher:
        first = watcher.snapshot()
        assert (first.objects("done"), first.workers(), first.unaccounted) == (0, 0, 0)
        stack.s3().put_object(Bucket="photos-in", Key="elsewhere/watched.jpg", Body=b"x")
        assert watcher.snapshot().hub.events == first.hub.events + 1


def test_the_watcher_ends_at_an_interrupt(stack: Stack) -> None:
    interrupts = Interrupts()
    interrupts.count = 1
    with Watcher(stack, "photos", "local", interrupts) as watcher, pytest.raises(Interrupted):
        watcher.snapshot()

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.local.hub import NotificationHub
from infra.local.notifications import NotificationTarget
from infra.local.options import Disorder, Posting
from infra.local.payload import Change, EventName
from tests.infra.receiver import RecordingReceiver

NOW = datetime.now(UTC)


def change(key: str, *, bucket: str = "photos-in", modified: datetime = NOW) -> Change:
    return Change(EventName.PUT, bucket, key, 1, "etag", modified)


@asynccontextmanager
async def hub_for(
    receiver: RecordingReceiver, disorder: Disorder | None = None, posting: Posting | None = None, **settings: Any
) -> AsyncIterator[NotificationHub]:
    hub = NotificationHub(disorder or Disorder(), replace(posting or Posting(), stamps=True))
    hub.configure("photos-in", NotificationTarget.model_validate({"web_hook": receiver.url, **settings}))
    try:
        yield hub
    finally:
        await hub.close()


async def drained(hub: NotificationHub) -> None:
    async with asyncio.timeout(20):
        await hub.drained()


def stamps(receiver: RecordingReceiver) -> list[bytes]:
    return [bytes.fromhex(event["object"]["versionstamp"]) for event in receiver.events]


def adds_up(hub: NotificationHub) -> bool:
    counts = hub.counts
    return (
        counts.writes == counts.late + counts.unannounced + counts.superseded + counts.events
        and counts.events + counts.duplicates
        == counts.posted + counts.given_up + counts.dropped + counts.discarded + hub.pending - counts.late
    )


async def test_versionstamps_are_ten_bytes_and_order_events_as_they_were_committed(
    receiver: RecordingReceiver,
) -> None:
    async with hub_for(receiver) as hub:
        for number in range(300):
            hub.enter([change(str(number))])
        await drained(hub)
    assert [event["object"]["key"] for event in receiver.events] == [str(number) for number in range(300)]
    assert {len(stamp) for stamp in stamps(receiver)} == {10}
    assert sorted(set(stamps(receiver))) == stamps(receiver)


async def test_the_changes_of_one_commit_share_its_version_and_differ_in_their_order(
    receiver: RecordingReceiver,
) -> None:
    async with hub_for(receiver) as hub:
        hub.enter([change("a"), change("b"), change("c")])
        await drained(hub)
    assert len({stamp[:8] for stamp in stamps(receiver)}) == 1
    assert [stamp[8:] for stamp in stamps(receiver)] == [b"\0\0", b"\0\1", b"\0\2"]


async def test_a_hub_that_starts_anew_goes_on_after_the_last_one(receiver: RecordingReceiver) -> None:
    for key in ("first", "second"):
        async with hub_for(receiver) as hub:
            hub.enter([change(key)])
            await drained(hub)
    assert stamps(receiver) == sorted(stamps(receiver))


async def test_a_late_regions_change_has_a_late_versionstamp_and_an_early_last_modified(
    receiver: RecordingReceiver,
) -> None:
    async with hub_for(receiver, Disorder(region_delay_seconds={"far": 0.05})) as hub:
        hub.enter([change("photo", modified=NOW)], region="far")
        hub.enter([change("photo", modified=NOW + timedelta(seconds=1))], region="near")
        assert hub.pending == 2
        await drained(hub)
    near, far = receiver.events
    apart = int(far["object"]["versionstamp"][:16], 16) - int(near["object"]["versionstamp"][:16], 16)
    assert apart >= 40_000  # a commit version counts microseconds
    assert near["object"]["lastModified"] > far["object"]["lastModified"]
    assert near["eventTime"] <= far["eventTime"]


async def test_a_late_change_that_is_older_may_never_be_announced(receiver: RecordingReceiver) -> None:
    async with hub_for(receiver, Disorder(region_delay_seconds={"far": 0.05}, drop_superseded=True)) as hub:
        hub.enter([change("old", modified=NOW), change("alone", modified=NOW)], region="far")
        hub.enter([change("old", modified=NOW + timedelta(seconds=1))])
        await drained(hub)
        assert adds_up(hub)
    assert [event["object"]["key"] for event in receiver.events] == ["old", "alone"]
    assert hub.counts.superseded == 1


async def test_only_what_is_asked_for_is_announced(receiver: RecordingReceiver) -> None:
    async with hub_for(receiver, filter='WHERE `key` REGEXP "^up/"') as hub:
        hub.enter([change("up/1"), change("other/1"), change("up/2", bucket="unknown")])
        hub.configure("photos-in", NotificationTarget.model_validate({"enabled": False, "web_hook": receiver.url}))
        hub.enter([change("up/3")])
        await drained(hub)
        assert adds_up(hub)
    assert [event["object"]["key"] for event in receiver.events] == ["up/1"]
    assert hub.counts.unannounced == 3


async def test_clearing_the_configuration_discards_what_waits(receiver: RecordingReceiver) -> None:
    async with hub_for(receiver, Disorder(hold_share=1, hold_seconds=60)) as hub:
        hub.enter([change("held")])
        hub.configure("photos-in", None)
        assert hub.pending == 0
        assert adds_up(hub)
    assert hub.counts.discarded == 1
    assert receiver.posts == []


DISORDER = Disorder(0.3, 0.3, 0.1, 0.1, hold_seconds=0.1, seed=42)


async def sent_under(disorder: Disorder, keys: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    with RecordingReceiver() as receiver:
        async with hub_for(receiver, disorder) as hub:
            for key in keys:
                hub.enter([change(key)])
            await drained(hub)
            assert adds_up(hub)
            return [event["object"]["key"] for event in receiver.events], hub.stats()


async def test_disorder_follows_from_the_seed(receiver: RecordingReceiver) -> None:
    keys = [str(number) for number in range(200)]
    first, counts = await sent_under(DISORDER, keys)
    again, counts_again = await sent_under(DISORDER, keys)
    other, _ = await sent_under(replace(DISORDER, seed=43), keys)
    assert sorted(first) == sorted(again)
    assert sorted(first) != sorted(other)
    decided = ("events", "duplicates", "reordered", "held", "dropped", "posted")
    assert [counts[name] for name in decided] == [counts_again[name] for name in decided]


async def test_events_are_doubled_overtaken_and_lost_as_counted() -> None:
    keys = [str(number) for number in range(200)]
    arrived, counts = await sent_under(DISORDER, keys)
    assert len(arrived) == counts["posted"] == 200 - counts["dropped"] + counts["duplicates"]
    assert len(set(keys) - set(arrived)) == counts["dropped"] > 0
    assert len(arrived) - len(set(arrived)) == counts["duplicates"] > 0
    assert arrived != sorted(arrived, key=int)
    assert counts["reordered"] > 0
    assert counts["held"] > 0


async def test_a_duplicate_is_the_same_delivery_twice(receiver: RecordingReceiver) -> None:
    async with hub_for(receiver, Disorder(duplicate_share=1, hold_seconds=0.05)) as hub:
        hub.enter([change("photo")])
        await drained(hub)
    first, second = receiver.events
    assert first == second


async def test_a_held_event_waits_and_lets_others_go_first(receiver: RecordingReceiver) -> None:
    async with hub_for(receiver, Disorder(hold_share=0.5, hold_seconds=0.8, seed=1)) as hub:
        started = time.monotonic()
        for number in range(20):
            hub.enter([change(str(number))])
        await drained(hub)
        waited = time.monotonic() - started
    held = hub.counts.held
    assert 0 < held < 20
    assert waited >= 0.8
    last = [int(event["object"]["key"]) for event in receiver.events][-held:]
    assert last == sorted(last)
    assert min(last) < 20 - held

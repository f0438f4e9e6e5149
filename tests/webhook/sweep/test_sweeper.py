"""What a listing shows is compared with the ledger: nothing lost is overlooked, and nothing known is worked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.infra.local.running import RunningBucket as LocalStore
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import configured, event, pipeline
from tests.webhook.sweep.sweeping import KEYS, counts, swept, worked
from webhook.storage import StoreError
from webhook.sweep.listing import UntrustedListing

ODD = (
    " b.jpg",
    "a b.jpg",
    "a%20b.jpg",
    "a+b.jpg",
    "a/b/c.jpg",
    "ä/😀&<>\"'.jpg",
    "a\u0301.jpg",
    "\uffee.jpg",
    "\U0001f600.jpg",
)


async def test_what_was_there_before_is_found_and_worked_once(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload(*KEYS)
        first = await it.sweep()
        assert counts(first) == {"listed": 7, "found": 7}
        assert first.counts.pages == 3
        assert counts(await it.sweep()) == {"listed": 7, "known": 7}
        assert await it.work() == [f"done {key}" for key in KEYS]
        assert counts(await it.sweep()) == {"listed": 7, "known": 7}
        assert await it.work() == []


async def test_a_lost_event_is_found(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload(*KEYS)
        await it.announce(*KEYS)
        await it.work()
        it.upload("c.jpg", body=b"other")
        it.upload("new.jpg")
        assert counts(await it.sweep()) == {"listed": 8, "known": 6, "found": 2}
        assert await it.work() == ["done c.jpg", "done new.jpg"]
        assert counts(await it.sweep()) == {"listed": 8, "known": 8}


async def test_odd_keys_are_listed_compared_and_resumed_in_the_order_of_bytes(
    postgres_dsn: str, store: LocalStore
) -> None:
    async with swept(postgres_dsn, store, page=1) as it:
        it.upload(*ODD)
        assert counts(await it.sweep("full")) == {"listed": len(ODD), "found": len(ODD)}
        assert await it.work() == sorted(f"done {key}" for key in ODD)
        assert set(await it.plane.objects()) == set(ODD)
        assert counts(await it.sweep("full")) == {"listed": len(ODD), "known": len(ODD)}


async def test_content_that_is_announced_or_under_way_is_known(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("pending.jpg", "leased.jpg")
        await it.announce("leased.jpg")
        await (await it.plane.worker()).lease()
        await it.announce("pending.jpg")
        assert counts(await it.sweep()) == {"listed": 2, "known": 2}
        assert await it.states() == {"pending.jpg": "pending", "leased.jpg": "leased"}


async def test_newer_content_than_what_is_under_way_is_found(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("a.jpg")
        await it.announce("a.jpg")
        lease = await (await it.plane.worker()).lease()
        it.upload("a.jpg", body=b"newer")
        assert counts(await it.sweep()) == {"listed": 1, "found": 1}
        assert counts(await it.sweep()) == {"listed": 1, "known": 1}, "the second look is to come"
        [row] = (await it.plane.objects()).values()
        assert (row["state"], row["rerun_requested"], row["id"]) == ("leased", True, lease.id)


async def test_parked_and_forgotten_objects_are_left_until_they_change(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("parked.jpg", "forgotten.jpg", "read.jpg")
        await it.announce("parked.jpg", "forgotten.jpg")
        await it.plane.notify(event("read.jpg", bucket=it.buckets.inputs, eTag=None))
        worker = await it.plane.worker()
        for lease in (await worker.ask(most=3)).leases:
            failed = {
                "outcome": "failed",
                "id": lease.id,
                "token": lease.token,
                "reason": "unreadable",
                "message": "no",
                "retry": False,
            }
            assert (await worker.post(f"leases/{lease.id}/fail", failed)).status_code == 200
        forget = await it.plane.admin("POST", "/v1/parked/forget", json={"key": "forgotten.jpg"})
        assert forget.status_code == 200, forget.text
        # What failed is what was announced, whenever that was read.
        await it.plane.sql("update objects set leased_at = leased_at - interval '1 hour' where key = 'parked.jpg'")
        # Its ETag was never announced: what counts is that it was read after it had been written.
        await it.plane.sql("update objects set leased_at = leased_at + interval '1 minute' where key = 'read.jpg'")
        assert counts(await it.sweep("full")) == {"listed": 3, "known": 3}
        await it.plane.sql(
            "update objects set due_at = due_at - interval '1 hour', leased_at = leased_at - interval '1 hour'"
        )
        it.upload("parked.jpg", "forgotten.jpg", "read.jpg", body=b"mended")
        assert counts(await it.sweep()) == {"listed": 3, "found": 3}
        assert len(await it.work()) == 3


async def test_a_listing_that_is_late_changes_nothing(postgres_dsn: str, store: LocalStore) -> None:
    """What it shows is older than what was processed; an hour later that is no lag any more, so the store is asked."""
    async with swept(postgres_dsn, store) as it:
        it.upload("a.jpg")
        await it.announce("a.jpg")
        await it.work()
        await it.plane.sql("update objects set done_etag = 'newer', done_modified = now() + interval '1 minute'")
        assert counts(await it.sweep("full")) == {"listed": 1, "known": 1}
        await it.plane.sql("update objects set due_at = now() - interval '2 hours', newest_at = done_modified")
        assert counts(await it.sweep("full")) == {"listed": 1, "found": 1}
        assert await it.work() == ["done a.jpg"]


async def test_an_object_that_was_taken_for_gone_is_found(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("a.jpg")
        await it.plane.notify(event("a.jpg", bucket=it.buckets.inputs, eventName="OBJECT_DELETED"))
        store.fault(method="HEAD", bucket=it.buckets.inputs, status=404)
        await it.checked()
        assert await it.states() == {"a.jpg": "gone"}
        for _ in range(2):  # as often as it happens: each sweep's finding is news
            assert counts(await it.sweep()) == {"listed": 1, "found": 1}
            assert len(await it.work()) == 1
            await it.plane.sql("update objects set state = 'gone', done_etag = null, due_at = now()")


async def test_a_dry_run_writes_nothing_and_says_what_it_would(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        it.upload(*KEYS)
        await it.announce("a.jpg", "b.jpg")
        await it.work()
        it.delete("a.jpg")
        before = (
            await it.plane.sql("select * from objects order by id"),
            await it.plane.sql("select * from tally order by 1, 2, 3"),
        )
        found = await it.sweep("full", dry_run=True)
        assert counts(found) == {"listed": 6, "known": 1, "found": 5, "missing": 1}
        assert before == (
            await it.plane.sql("select * from objects order by id"),
            await it.plane.sql("select * from tally order by 1, 2, 3"),
        )
        assert counts(await it.sweep("full")) == counts(found)


async def test_only_what_a_pipeline_watches_is_its_business(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    both = {
        "photos": {**pipeline(buckets.inputs, f"{buckets.outputs}/photos"), "suffixes": [".jpg"]},
        "films": {**pipeline(buckets.inputs, f"{buckets.outputs}/films"), "input": f"s3://{buckets.inputs}/films/"},
    }
    async with swept(postgres_dsn, store, config=configured(both), buckets=buckets) as it:
        it.upload("a.jpg", "b.txt", "films/", "films/a.jpg", "films/b.mov")
        numbers = {name: number for number, (name, _) in it.pipelines.by_id.items()}
        assert counts(await it.sweep(pipeline=numbers["photos"])) == {"listed": 2, "found": 2}
        assert counts(await it.sweep(pipeline=numbers["films"], prefix="films/")) == {"listed": 2, "found": 2}
        rows = await it.plane.sql("select pipeline_id, key from objects")
        assert {(row["pipeline_id"], row["key"]) for row in rows} == {
            (numbers["photos"], "a.jpg"), (numbers["photos"], "films/a.jpg"),
            (numbers["films"], "films/a.jpg"), (numbers["films"], "films/b.mov"),
        }  # fmt: skip


async def test_only_what_was_written_since(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("a.jpg")
        [now] = await it.plane.sql("select now() as now, now() + interval '1 day' as tomorrow")
        assert counts(await it.sweep(since=now["tomorrow"])) == {}
        assert counts(await it.sweep(since=now["now"].replace(year=2020))) == {"listed": 1, "found": 1}


# ── deletions ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_deletion_that_was_never_announced_is_found_and_confirmed(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        await worked(it, *KEYS)
        it.delete("a.jpg", "d.jpg", "g.jpg")
        assert counts(await it.sweep()) == {"listed": 4, "known": 4}, "a backfill looks for no deletions"
        assert counts(await it.sweep("full")) == {"listed": 4, "known": 4, "missing": 3}
        assert it.outputs >= {"a.jpg/out.txt"}, "nothing is removed before the store has confirmed it"
        await it.checked()
        assert {key for key, state in (await it.states()).items() if state == "gone"} == {"a.jpg", "d.jpg", "g.jpg"}
        assert {key.split("/")[0] for key in it.outputs} == {"b.jpg", "c.jpg", "e.jpg", "f.jpg"}
        assert counts(await it.sweep("full")) == {"listed": 4, "known": 4}


async def test_more_deletions_than_one_transaction_takes(
    postgres_dsn: str, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.sweep.sweeper._MISSING", 2)
    async with swept(postgres_dsn, store) as it:
        await worked(it, *KEYS)
        it.delete(*KEYS[:3], *KEYS[4:])
        found = await it.sweep("full", dry_run=True)
        assert (found.counts.missing, found.state) == (6, "done")
        assert (await it.sweep("full")).counts.missing == 6
        await it.checked()
        assert {key for key, state in (await it.states()).items() if state == "done"} == {"d.jpg"}


async def test_a_false_alarm_does_no_harm(postgres_dsn: str, store: LocalStore) -> None:
    """The listing leaves out what is there: it is asked for, found, and not worked again."""
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        await worked(it, "a.jpg", "b.jpg")
        it.delete("b.jpg")
        sweep = await it.ordered("full")
        listed = await it.client.list_page(it.buckets.inputs, "")
        assert [item.key for item in listed.objects] == ["a.jpg"]
        moved = await it.sweeper.step(sweep)
        assert moved
        assert moved.counts.missing == 1
        it.upload("b.jpg")
        await it.checked()
        assert await it.work() == ["unchanged b.jpg"]
        assert "b.jpg/out.txt" in it.outputs


async def test_a_bucket_that_looks_empty_proves_nothing(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        await worked(it, *KEYS)
        it.fault(effect="empty")
        sweep = await it.ordered("full")
        with pytest.raises(UntrustedListing, match="ended without 7 objects that the ledger knows"):
            await it.sweeper.step(sweep)
        assert set((await it.states()).values()) == {"done"}
        assert (await it.sweeps.get(sweep.id)) is not None


async def test_a_listing_that_ends_too_early_proves_nothing(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        await worked(it, *KEYS)
        it.fault(effect="empty", after=1)
        sweep = await it.ordered("full")
        moved = await it.sweeper.step(sweep)
        assert moved
        with pytest.raises(UntrustedListing):
            await it.sweeper.step(moved)
        assert set((await it.states()).values()) == {"done"}


async def test_a_bucket_that_was_emptied_is_found_empty(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        await worked(it, *KEYS)
        it.delete(*KEYS)
        assert counts(await it.sweep("full")) == {"missing": 7}
        await it.checked()
        assert set((await it.states()).values()) == {"gone"}


@pytest.mark.parametrize("status", [500, 503, 403])
async def test_a_listing_that_fails_midway_proves_nothing_of_the_rest(
    postgres_dsn: str, store: LocalStore, status: int
) -> None:
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        await worked(it, *KEYS)
        it.delete("b.jpg", "f.jpg")
        it.fault(status=status, after=1)
        sweep = await it.ordered("full")
        moved = await it.sweeper.step(sweep)
        assert moved
        assert (moved.cursor, moved.counts.missing) == ("d.jpg", 1)
        with pytest.raises(StoreError):
            await it.sweeper.step(moved)
        await it.checked()
        assert (await it.states())["f.jpg"] == "done", "it lies where no listing came through"
        while not moved.ended:
            after = await it.sweeper.step(moved)
            assert after
            moved = after
        assert moved.counts.missing == 2


async def test_a_result_of_during_the_sweep_is_not_missing(postgres_dsn: str, store: LocalStore) -> None:
    """It was not there when the page was listed, perhaps."""
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        sweep = await it.ordered("full")
        await worked(it, "a.jpg")
        it.delete("a.jpg")
        moved = await it.sweeper.step(sweep)
        assert moved
        assert moved.counts.missing == 0


# ── going on ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_done_is_not_listed_again(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload(*KEYS)
        sweep = await it.ordered()
        moved = await it.sweeper.step(sweep)
        assert moved
        it.upload("Z-before-the-cursor.jpg")
        resumed = await it.sweeps.begin(sweep.id)
        assert resumed
        assert (resumed.cursor, resumed.counts.listed) == ("c.jpg", 3)
        while not resumed.ended:
            after = await it.sweeper.step(resumed)
            assert after
            resumed = after
        assert (resumed.counts.listed, resumed.counts.pages) == (7, 3)


async def test_one_of_two_that_do_the_same_page_writes_it(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload(*KEYS)
        sweep = await it.ordered()
        assert await it.sweeper.step(sweep)
        assert await it.sweeper.step(sweep) is None
        assert len(await it.plane.objects()) == 3
        assert (await it.sweeps.begin(sweep.id)).counts.pages == 1  # type: ignore[union-attr]


async def test_a_cancelled_sweep_writes_no_page_more(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload(*KEYS)
        sweep = await it.ordered()
        assert await it.sweeps.cancel(sweep.id)
        assert await it.sweeper.step(sweep) is None
        assert await it.plane.objects() == {}
        assert await it.sweeps.begin(sweep.id) is None


async def test_what_was_pruned_or_there_before_is_no_lost_event(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("a.jpg")
        later = datetime.now(UTC) + timedelta(hours=1)
        assert counts(await it.sweep("full", new_since=later)) == {"listed": 1, "known": 1}
        earlier = datetime.now(UTC) - timedelta(hours=1)
        assert counts(await it.sweep("full", new_since=earlier)) == {"listed": 1, "found": 1}


async def test_the_schedule_leaves_what_is_older_than_the_pipeline_and_than_the_horizon(
    postgres_dsn: str, store: LocalStore
) -> None:
    async with swept(postgres_dsn, store) as it:
        [made] = [row["created_at"] for row in await it.plane.sql("select created_at from pipelines")]
        [ever, _] = await it.sweeps.last_scheduled([1], 0)
        assert ever.new_since == made - timedelta(hours=1)
        await it.plane.sql("update pipelines set created_at = created_at - interval '900 days' returning 1")
        [pruned, _] = await it.sweeps.last_scheduled([1], 90)
        assert abs(datetime.now(UTC) - timedelta(days=90, hours=1) - pruned.new_since) < timedelta(minutes=5)


async def test_keys_that_notifications_are_refused_for_are_not_swept_in(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("line\nfeed.jpg")
        assert counts(await it.sweep("full")) == {}

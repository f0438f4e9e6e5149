"""A ledger that was lost is rebuilt from what lies beside the outputs, and nothing is worked again."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest

from tests.infra.local.running import RunningBucket as LocalStore
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import event
from tests.webhook.sweep.sweeping import KEYS, Swept, counts, swept, worked
from webhook.sweep import orphaned_outputs


async def forget_all(it: Swept) -> None:
    """The ledger is lost, and made anew."""
    await it.plane.sql("truncate objects, tally, sweeps")


async def test_a_ledger_is_rebuilt_and_nothing_worked_again(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        await worked(it, *KEYS)
        before = {key: dict(row) for key, row in (await it.plane.objects()).items()}
        await forget_all(it)
        assert counts(await it.sweep("full")) == {"listed": 7, "adopted": 7}
        assert await it.work() == []
        after = await it.plane.objects()
        for name in ("state", "token", "done_etag", "done_verdict", "published"):
            assert {key: row[name] for key, row in after.items()} == {key: row[name] for key, row in before.items()}
        assert counts(await it.sweep("full")) == {"listed": 7, "known": 7}
        # What was adopted is as good as what was made: overwritten and deleted like any other.
        it.upload("a.jpg", body=b"newer")
        it.delete("b.jpg")
        assert counts(await it.sweep("full")) == {"listed": 6, "known": 5, "found": 1, "missing": 1}
        assert await it.work() == ["done a.jpg"]
        await it.checked()
        assert {key.split("/")[0] for key in it.outputs} == set(KEYS) - {"b.jpg"}


async def test_what_changed_while_nobody_remembered_is_worked(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        await worked(it, "a.jpg", "b.jpg")
        it.upload("b.jpg", body=b"newer")
        it.upload("c.jpg")
        await forget_all(it)
        assert counts(await it.sweep()) == {"listed": 3, "found": 2, "adopted": 1}
        assert await it.work() == ["done b.jpg", "done c.jpg"]


async def test_an_event_that_comes_before_the_sweep_wins(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        await worked(it, "a.jpg")
        await forget_all(it)
        await it.announce("a.jpg")
        assert counts(await it.sweep()) == {"listed": 1, "known": 1}
        assert (await it.states()) == {"a.jpg": "pending"}


WRONG: dict[str, dict[str, Any]] = {
    "of another pipeline": {"pipeline": "films"},
    "of another bucket": {"bucket": "other"},
    "of another key": {"key": "b.jpg"},
    "of other content": {"input": {"etag": "0" * 32}},
    "of a newer format": {"version": 2},
    "without a token": {"token": 0},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_manifest_of_something_else_is_not_adopted(
    postgres_dsn: str, store: LocalStore, wrong: dict[str, Any]
) -> None:
    async with swept(postgres_dsn, store) as it:
        await worked(it, "a.jpg")
        there = it.buckets.s3.get_object(Bucket=it.buckets.outputs, Key="a.jpg/result.json")["Body"].read()
        it.buckets.put("a.jpg/result.json", json.dumps({**json.loads(there), **wrong}).encode())
        await forget_all(it)
        assert counts(await it.sweep()) == {"listed": 1, "found": 1}


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 100_000, b" " * (1 << 20) + b"{}"])
async def test_what_is_no_manifest_is_not_adopted(postgres_dsn: str, store: LocalStore, content: bytes) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("a.jpg")
        it.buckets.put("a.jpg/result.json", content)
        assert counts(await it.sweep()) == {"listed": 1, "found": 1}


async def test_a_manifest_that_cannot_be_read_now_holds_the_page_up(postgres_dsn: str, store: LocalStore) -> None:
    """To work it all again since the store was down for a moment would be a waste."""
    async with swept(postgres_dsn, store) as it:
        await worked(it, "a.jpg")
        await forget_all(it)
        store.fault(bucket=it.buckets.outputs, key_prefix="a.jpg/", status=503)
        sweep = await it.ordered()
        with pytest.raises(Exception, match="503"):
            await it.sweeper.step(sweep)
        assert await it.plane.objects() == {}
        moved = await it.sweeper.step(sweep)
        assert moved
        assert counts(moved) == {"listed": 1, "adopted": 1}


async def test_no_manifest_is_asked_for_where_no_output_is(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload(*KEYS)
        store.fault(method="GET", bucket=it.buckets.outputs, status=503, after=1, times=100)
        assert counts(await it.sweep()) == {"listed": 7, "found": 7}


# ── what lies in the output place ────────────────────────────────────────────────────────────────────────────────────


async def test_outputs_of_what_nobody_remembers_are_removed_once_the_input_is_gone(
    postgres_dsn: str, store: LocalStore
) -> None:
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        await worked(it, *KEYS)
        it.delete("a.jpg", "b.jpg")
        it.buckets.put("of-somebody-else.jpg/out.txt")
        it.buckets.put("loose.txt")
        await forget_all(it)
        assert counts(await it.sweep("full", dry_run=True)) == {"listed": 5, "adopted": 5, "orphaned": 3}, (
            "on two pages"
        )
        await it.sweep("backfill")
        assert counts(await it.sweep("full")) == {"listed": 5, "known": 5, "orphaned": 2}
        await it.checked()
        left = it.outputs
        assert {key.split("/")[0] for key in left} == {*KEYS[2:], "of-somebody-else.jpg", "loose.txt"}
        assert counts(await it.sweep("full")) == {"listed": 5, "known": 5}


async def test_outputs_that_are_kept_are_nobodys_business(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store, on_delete="keep") as it:
        await worked(it, "a.jpg")
        it.delete("a.jpg")
        await forget_all(it)
        assert counts(await it.sweep("full")) == {}
        assert it.outputs == {"a.jpg/out.txt", "a.jpg/result.json"}


async def test_an_output_that_the_last_result_does_not_have_is_removed(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        await worked(it, "a.jpg")
        it.buckets.put("a.jpg/former.txt", metadata={"yurt-token": "5"})
        [row] = await it.plane.sql("select token from objects")
        it.buckets.put("a.jpg/not-named.txt", metadata={"yurt-token": str(row["token"])})
        it.buckets.put(f"a.jpg/.yurt-{row['token']}/out.txt", metadata={"yurt-token": str(row["token"])})
        it.buckets.put("a.jpg/later.txt", metadata={"yurt-token": str(2**62)})
        it.buckets.put("a.jpg/of-somebody-else.txt")
        it.buckets.put("a.jpg/.yurt-5/out.txt", metadata={"yurt-token": "5"})
        kept = {"a.jpg/out.txt", "a.jpg/result.json", "a.jpg/later.txt", "a.jpg/of-somebody-else.txt"}
        assert (await it.sweep("full", dry_run=True)).counts.removed == 4
        assert len(it.outputs) == 8
        assert (await it.sweep("full")).counts.removed == 4
        assert it.outputs == kept


async def test_an_output_that_a_late_worker_wrote_over_is_made_anew(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        await worked(it, "a.jpg", "b.jpg")
        it.buckets.put("a.jpg/out.txt", b"stale", {"yurt-token": "5"})
        it.buckets.put("b.jpg/out.txt", b"edited by a person")
        assert counts(await it.sweep("full")) == {"listed": 2, "known": 2, "found": 1}
        assert await it.work() == ["done a.jpg"]
        there = it.buckets.s3.get_object(Bucket=it.buckets.outputs, Key="a.jpg/out.txt")["Body"].read()
        assert there == b"photoa.jpg"
        assert counts(await it.sweep("full")) == {"listed": 2, "known": 2}


async def test_outputs_of_work_under_way_are_left(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        await worked(it, "a.jpg")
        it.upload("a.jpg", body=b"newer")
        await it.announce("a.jpg")
        lease = await (await it.plane.worker()).lease()
        it.buckets.put("a.jpg/new.txt", metadata={"yurt-token": str(lease.token)})
        it.buckets.put(f"a.jpg/.yurt-{lease.token}/new.txt", metadata={"yurt-token": str(lease.token)})
        assert counts(await it.sweep("full")) == {"listed": 1, "known": 1}
        assert len(it.outputs) == 4


async def test_outputs_in_a_shared_place_are_left(postgres_dsn: str, store: LocalStore) -> None:
    """Whose they are cannot be told by their keys."""
    buckets = BucketPair.made(store)
    config = buckets.configured(on_delete="remove")
    both = {"photos": config.pipelines["photos"], "more": config.pipelines["photos"]}
    config = config.model_copy(update={"pipelines": both})
    async with swept(postgres_dsn, store, config=config, buckets=buckets) as it:
        it.buckets.put("a.jpg/out.txt", metadata={"yurt-token": "5"})
        assert counts(await it.sweep("full")) == {}


async def test_a_deletion_that_is_announced_of_a_forgotten_object_takes_its_outputs(
    postgres_dsn: str, store: LocalStore
) -> None:
    async with swept(postgres_dsn, store, on_delete="remove") as it:
        await worked(it, "a.jpg")
        await forget_all(it)
        it.delete("a.jpg")
        await it.plane.notify(event("a.jpg", bucket=it.buckets.inputs, eventName="OBJECT_DELETED"))
        await it.checked()
        assert it.outputs == set()


def test_all_counts_are_shown() -> None:
    """A count that is forgotten in one of the places would be 0 for ever."""
    from webhook.api.sweeps import SweepStatus
    from webhook.ledger.sweeps import COUNTED, SweepCounts

    names = {field.name for field in dataclasses.fields(SweepCounts)}
    assert names == {"pages", "known", *COUNTED}
    assert names <= set(SweepStatus.model_fields)


async def test_what_a_killed_process_had_tried_conditions_on_is_removed(
    postgres_dsn: str, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with swept(postgres_dsn, store) as it:
        it.buckets.put(".yurt-probe-0123456789abcdef", b"left behind")
        it.buckets.put("probe-of-somebody-else", b"not ours")
        await it.sweep("full")
        assert it.outputs == {".yurt-probe-0123456789abcdef", "probe-of-somebody-else"}, "it may be in use"
        monkeypatch.setattr(orphaned_outputs, "PROBE_AGE", timedelta(hours=-1))
        assert (await it.sweep("full")).counts.removed == 1
        assert it.outputs == {"probe-of-somebody-else"}

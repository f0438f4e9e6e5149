"""Deletes are checked: against a real store, before any output is removed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from tests.infra.local.running import RunningBucket as LocalStore
from tests.polling import until
from tests.webhook.buckets import BucketPair, sent
from tests.webhook.gateway import gateway
from tests.webhook.plane import WEBHOOK, RunningPlane, configured, control_plane, event, pipeline
from tests.webhook.sources.s3_samples import aws
from webhook.config import Config
from webhook.outputs.removal import Remover
from webhook.storage import ObjectStore
from webhook.storage.presign import SigningKeys
from webhook.sweep.deletions import DeletionChecker

KEY = "a b.jpg"


@dataclass(frozen=True, slots=True)
class Checked:
    """A control plane whose checks the test makes, one by one."""

    plane: RunningPlane
    checker: DeletionChecker
    buckets: BucketPair

    async def check(self) -> tuple[str, str]:
        """Make the next check, once it is due; the object's state and lane after it."""
        assert await until(self.checker.check) == 1
        row = (await self.plane.objects())[KEY]
        return row["state"], row["lane"]

    async def deleted(self) -> None:
        """Announce the delete."""
        said = event(KEY, bucket=self.buckets.inputs, eventName="OBJECT_DELETED")
        assert await self.plane.notify(said) == {"accepted": 1}

    async def published(self, *names: str) -> None:
        """Put the input and its outputs there, as a worker does."""
        self.buckets.s3.put_object(Bucket=self.buckets.inputs, Key=KEY, Body=b"photo")
        await self.plane.notify(event(KEY, bucket=self.buckets.inputs))
        worker = await self.plane.worker()
        lease = await worker.lease()
        outputs: list[dict[str, Any]] = []
        for upload in await worker.uploads(lease, *names):
            etag = (await sent(upload)).headers["etag"].strip('"')
            outputs.append({"name": upload.name, "etag": etag, "size": 5, "content_type": "text/plain"})
        done = {"outcome": "done", "id": lease.id, "token": lease.token, "fetched": {"etag": "abc"}, "outputs": outputs}
        said = await worker.post(f"leases/{lease.id}/complete", done)
        assert said.status_code == 200, said.text

    def gone(self) -> None:
        """Delete the input."""
        self.buckets.s3.delete_object(Bucket=self.buckets.inputs, Key=KEY)


@contextlib.asynccontextmanager
async def checked(
    postgres_dsn: str,
    store: LocalStore,
    *,
    buckets: BucketPair | None = None,
    config: Config | None = None,
    endpoint: str = "",
    **more: Any,
) -> AsyncIterator[Checked]:
    buckets = buckets or BucketPair.made(store)
    config = config or buckets.configured(**more)
    endpoint = endpoint or store.endpoint
    async with control_plane(postgres_dsn, config, store=endpoint, loops=False) as plane:
        client = ObjectStore(endpoint, "auto", SigningKeys("tid_test", "tsec_test"), answer_seconds=1, attempts=1)
        pipelines = plane.services.pipelines
        checker = DeletionChecker(plane.services.ledger, pipelines, client, Remover(client, pipelines.all))
        yield Checked(plane, checker, buckets)
        await client.aclose()
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


async def test_a_delete_is_believed_after_as_many_404s_as_configured(postgres_dsn: str, store: LocalStore) -> None:
    async with checked(postgres_dsn, store, on_delete="remove", absent_checks=3) as it:
        await it.published("256.webp", "result.json")
        it.buckets.put(f"{KEY}/of-somebody-else.txt")
        it.gone()
        await it.deleted()
        assert await it.check() == ("pending", "check")
        assert await it.check() == ("pending", "check")
        assert len(it.buckets.keys()) == 3
        assert await it.check() == ("gone", "work")
        assert it.buckets.keys() == {f"{KEY}/of-somebody-else.txt"}
        assert await it.checker.check() == 0


async def test_outputs_are_kept_where_the_pipeline_says_so(postgres_dsn: str, store: LocalStore) -> None:
    async with checked(postgres_dsn, store, absent_checks=1) as it:
        await it.published("256.webp")
        it.gone()
        await it.deleted()
        assert await it.check() == ("gone", "work")
        assert it.buckets.keys() == {f"{KEY}/256.webp"}


async def test_an_object_that_was_made_again_is_worked_again(postgres_dsn: str, store: LocalStore) -> None:
    async with checked(postgres_dsn, store, on_delete="remove") as it:
        await it.published("256.webp")
        it.gone()
        await it.deleted()
        assert await it.check() == ("pending", "check")
        it.buckets.s3.put_object(Bucket=it.buckets.inputs, Key=KEY, Body=b"again")
        assert await it.check() == ("pending", "work")
        assert it.buckets.keys() == {f"{KEY}/256.webp"}
        assert (await (await it.plane.worker()).lease()).key == KEY


async def test_a_delete_that_never_was_changes_nothing(postgres_dsn: str, store: LocalStore) -> None:
    async with checked(postgres_dsn, store, on_delete="remove") as it:
        await it.published("256.webp")
        await it.deleted()
        assert await it.check() == ("pending", "work")
        assert it.buckets.keys() == {f"{KEY}/256.webp"}


async def test_a_store_with_faults_is_not_believed(postgres_dsn: str, store: LocalStore) -> None:
    """Only 404s count, also with other answers between them; here none of the 404s is true."""
    async with checked(postgres_dsn, store, on_delete="remove", absent_checks=3) as it:
        await it.published("256.webp")
        await it.deleted()
        for status in (503, 404, 500, 403, 404, 429):
            store.fault(method="HEAD", bucket=it.buckets.inputs, status=status)
            assert await it.check() == ("pending", "check"), status
        store.fault(method="HEAD", bucket=it.buckets.inputs, delay_seconds=2)
        assert await it.check() == ("pending", "check")
        assert await it.check() == ("pending", "work")
        assert it.buckets.keys() == {f"{KEY}/256.webp"}


async def test_a_workers_404_is_checked_too(postgres_dsn: str, store: LocalStore) -> None:
    async with checked(postgres_dsn, store, on_delete="remove", absent_checks=2) as it:
        await it.published("256.webp")
        it.gone()
        await it.plane.notify(event(KEY, bucket=it.buckets.inputs))
        worker = await it.plane.worker()
        lease = await worker.lease()
        await worker.ask(most=0, settle=[{"outcome": "absent", "id": lease.id, "token": lease.token}])
        assert await it.check() == ("pending", "check")
        assert await it.check() == ("gone", "work")
        assert not it.buckets.keys()


async def test_a_missing_bucket_is_nobodys_delete(postgres_dsn: str, store: LocalStore) -> None:
    """It says 404 of everything that was in it: a wrong endpoint or name must not remove all results."""
    buckets = BucketPair.made(store)
    config = configured({"photos": pipeline("no-such-bucket", buckets.outputs, on_delete="remove", absent_checks=1)})
    async with checked(postgres_dsn, store, config=config) as it:
        await it.plane.notify(event(KEY, bucket="no-such-bucket", eventName="OBJECT_DELETED"))
        for _ in range(3):
            assert await it.check() == ("pending", "check")
        [row] = (await it.plane.objects()).values()
        assert "there is no bucket" in row["error"]


async def test_an_output_that_somebody_else_wrote_is_left_and_the_rest_removed(
    postgres_dsn: str, store: LocalStore
) -> None:
    async with checked(postgres_dsn, store, on_delete="remove", absent_checks=1) as it:
        await it.published("256.webp", "512.webp")
        it.buckets.put(f"{KEY}/256.webp", b"edited by hand")
        it.gone()
        await it.deleted()
        assert await it.check() == ("gone", "work")
        assert it.buckets.keys() == {f"{KEY}/256.webp"}


async def test_outputs_that_cannot_be_removed_now_are_removed_later(postgres_dsn: str, store: LocalStore) -> None:
    async with checked(postgres_dsn, store, on_delete="remove", absent_checks=1) as it:
        await it.published("256.webp", "512.webp")
        it.gone()
        await it.deleted()
        store.fault(method="DELETE", bucket=it.buckets.outputs, status=503)
        assert await it.check() == ("pending", "check")
        assert await it.check() == ("gone", "work")
        assert not it.buckets.keys()


async def test_what_the_ledger_has_forgotten_is_removed_by_its_token(postgres_dsn: str, store: LocalStore) -> None:
    """Its row was pruned or the ledger rebuilt, or a worker died halfway: nothing but what Yurt wrote goes."""
    async with checked(postgres_dsn, store, on_delete="remove", absent_checks=1) as it:
        await it.published("256.webp", "result.json")
        await it.plane.sql("update objects set published = null")
        it.buckets.put(f"{KEY}/half.webp", b"half", {"yurt-token": "17"})
        others = {f"{KEY}/of-somebody-else.txt", f"{KEY}/b.jpg/256.webp", f"{KEY}c/256.webp"}
        for other in others:
            it.buckets.put(other, b"other", {} if "somebody" in other else {"yurt-token": "17"})
        it.gone()
        await it.deleted()
        assert await it.check() == ("gone", "work")
        assert it.buckets.keys() == others


async def test_outputs_that_may_be_another_pipelines_are_left(postgres_dsn: str, store: LocalStore) -> None:
    """Two inputs with one output place: what lies there tells nothing of whose it is."""
    buckets = BucketPair.made(store)
    both = {
        "photos": pipeline(buckets.inputs, buckets.outputs, on_delete="remove", absent_checks=1),
        "others": pipeline("elsewhere", buckets.outputs),
    }
    async with checked(postgres_dsn, store, buckets=buckets, config=configured(both)) as it:
        await it.published("256.webp", "result.json")
        it.buckets.put(f"{KEY}/others.webp", b"other", {"yurt-token": "17"})
        it.gone()
        await it.deleted()
        assert await it.check() == ("gone", "work")
        assert it.buckets.keys() == {f"{KEY}/others.webp"}


async def test_outputs_are_moved_to_the_trash(postgres_dsn: str, store: LocalStore) -> None:
    trash = store.new_bucket(store.s3())
    where: dict[str, Any] = {"on_delete": "trash", "trash": f"s3://{trash}/old/", "absent_checks": 2}
    async with checked(postgres_dsn, store, **where) as it:
        await it.published("256.webp", "result.json")
        it.buckets.put(f"{KEY}/of-somebody-else.txt")
        it.gone()
        await it.deleted()
        assert await it.check() == ("pending", "check")
        s3 = it.buckets.s3
        assert "Contents" not in s3.list_objects_v2(Bucket=trash)
        assert await it.check() == ("gone", "work")
        assert it.buckets.keys() == {f"{KEY}/of-somebody-else.txt"}
        thrown = {item["Key"] for item in s3.list_objects_v2(Bucket=trash)["Contents"]}
        assert thrown == {f"old/{KEY}/256.webp", f"old/{KEY}/result.json"}
        said = s3.get_object(Bucket=trash, Key=f"old/{KEY}/256.webp")
        assert (said["Body"].read(), said["ContentType"]) == (b"hello", "text/plain")
        assert int(said["Metadata"]["yurt-token"]) > 0


@pytest.mark.parametrize("fault", ["PUT", "DELETE"])
async def test_a_move_that_is_cut_off_goes_on_later(postgres_dsn: str, store: LocalStore, fault: str) -> None:
    """Nothing is deleted that was not copied."""
    trash = store.new_bucket(store.s3())
    where: dict[str, Any] = {"on_delete": "trash", "trash": f"s3://{trash}/", "absent_checks": 1}
    async with checked(postgres_dsn, store, **where) as it:
        await it.published("256.webp", "512.webp", "result.json")
        it.gone()
        await it.deleted()
        bucket = trash if fault == "PUT" else it.buckets.outputs
        store.fault(method=fault, bucket=bucket, status=503)
        assert await it.check() == ("pending", "check")
        thrown = {item["Key"] for item in it.buckets.s3.list_objects_v2(Bucket=trash).get("Contents", [])}
        assert thrown | it.buckets.keys() == {f"{KEY}/256.webp", f"{KEY}/512.webp", f"{KEY}/result.json"}
        assert await it.check() == ("gone", "work")
        assert not it.buckets.keys()
        assert it.buckets.s3.list_objects_v2(Bucket=trash)["KeyCount"] == 3


async def test_the_same_content_that_comes_back_after_half_a_removal_is_worked(
    postgres_dsn: str, store: LocalStore
) -> None:
    """Neither its ETag nor a manifest may tell a worker that there is nothing to do."""
    async with checked(postgres_dsn, store, on_delete="remove", absent_checks=1) as it:
        await it.published("256.webp", "result.json")
        it.gone()
        await it.deleted()
        store.fault(method="DELETE", bucket=it.buckets.outputs, key_prefix=f"{KEY}/result", status=503)
        assert await it.check() == ("pending", "check")
        assert len(it.buckets.keys()) == 2  # the manifest goes first: who sees it can read what it names
        store.fault(method="DELETE", bucket=it.buckets.outputs, key_prefix=f"{KEY}/256", status=503)
        assert await it.check() == ("pending", "check")
        assert it.buckets.keys() == {f"{KEY}/256.webp"}
        it.buckets.s3.put_object(Bucket=it.buckets.inputs, Key=KEY, Body=b"photo")
        await it.plane.notify(event(KEY, bucket=it.buckets.inputs))
        lease = await (await it.plane.worker()).lease()
        assert "if-none-match" not in lease.input.headers
        assert lease.manifest is None


async def test_no_region_that_may_be_late_costs_an_output(postgres_dsn: str, store: LocalStore) -> None:
    """A read or an event said a moment ago that the object exists: 404s prove nothing until the lag is over."""
    where: dict[str, Any] = {"on_delete": "remove", "absent_checks": 1, "replica_lag_seconds": 60}
    async with checked(postgres_dsn, store, **where) as it:
        await it.published("256.webp")
        it.gone()
        said = event(KEY, bucket=it.buckets.inputs, eventName="OBJECT_DELETED")
        assert await it.plane.notify(said) == {"coalesced": 1}  # with the look that the result left over
        assert await it.check() == ("pending", "check")
        assert it.buckets.keys() == {f"{KEY}/256.webp"}
        await it.plane.sql("update objects set due_at = now(), seen_at = seen_at - interval '60 seconds'")
        assert await it.check() == ("gone", "work")
        assert not it.buckets.keys()


async def test_a_rename_is_a_delete_and_a_creation_found_by_asking(postgres_dsn: str, store: LocalStore) -> None:
    """The event names one key of a rename, and not which of the two: both are looked at."""
    async with checked(postgres_dsn, store, on_delete="remove", absent_checks=2) as it:
        await it.published("256.webp")
        s3, inputs = it.buckets.s3, it.buckets.inputs
        s3.copy_object(Bucket=inputs, Key="new.jpg", CopySource={"Bucket": inputs, "Key": KEY})
        it.gone()
        for key in (KEY, "new.jpg"):
            said = event(key, bucket=inputs, eventName="OBJECT_RENAME")
            assert await it.plane.notify(said) == {"accepted": 1}
        assert await it.checker.check() == 2
        rows = await it.plane.objects()
        assert {key: (row["state"], row["lane"]) for key, row in rows.items()} == {
            KEY: ("pending", "check"),
            "new.jpg": ("pending", "work"),
        }
        assert await it.check() == ("gone", "work")
        assert not it.buckets.keys()
        lease = await (await it.plane.worker()).lease()
        assert lease.key == "new.jpg"


async def test_what_a_rename_brings_is_worked_though_it_is_older(postgres_dsn: str, store: LocalStore) -> None:
    """It takes the place of newer content, and may keep its Last-Modified of long ago."""
    async with checked(postgres_dsn, store) as it:
        await it.published("256.webp")
        await it.plane.sql("update objects set newest_at = now() + interval '1 hour'")
        it.buckets.s3.put_object(Bucket=it.buckets.inputs, Key=KEY, Body=b"renamed to here")
        said = event(KEY, bucket=it.buckets.inputs, eventName="OBJECT_RENAME")
        assert await it.plane.notify(said) == {"accepted": 1}
        assert await it.check() == ("pending", "work")
        worker = await it.plane.worker()
        lease = await worker.lease()
        assert lease.expected.believed  # the lag has passed: each read is believed
        [upload] = await worker.uploads(lease, "256.webp")
        assert (await sent(upload, b"moved")).status_code == 200


async def test_a_transition_is_no_work(postgres_dsn: str, store: LocalStore) -> None:
    async with checked(postgres_dsn, store) as it:
        await it.published("256.webp")
        said = event(KEY, bucket=it.buckets.inputs, eventName="OBJECT_TRANSITIONED")
        assert await it.plane.notify(said) == {"ignored": 1}
        assert (await it.plane.objects())[KEY]["state"] == "done"
        assert await it.checker.check() == 0


async def test_an_archived_object_is_brought_back_and_worked(postgres_dsn: str, store: LocalStore) -> None:
    async with archived(postgres_dsn, store, restore_days=2) as it:
        assert await it.check() == ("pending", "check")
        row = (await it.plane.objects())[KEY]
        assert "archive tier" in row["error"]
        assert row["faults"] <= 1
        assert 200 < await waits(it.plane) <= 300
        restored = it.buckets.s3.head_object(Bucket=it.buckets.inputs, Key=KEY)["Restore"]
        assert 'ongoing-request="false"' in restored  # the local bucket takes no hour
        await it.plane.sql("update objects set due_at = now()")
        assert await it.check() == ("pending", "work")
        await it.plane.sql("update objects set due_at = now()")
        lease = await (await it.plane.worker()).lease()
        async with httpx.AsyncClient() as http:
            assert (await http.get(lease.input.url, headers=lease.input.headers)).content == b"photo"


async def test_an_archived_object_is_parked_where_nothing_is_restored(postgres_dsn: str, store: LocalStore) -> None:
    async with archived(postgres_dsn, store) as it:
        row = (await it.plane.objects())[KEY]
        assert row["state"] == "parked"
        assert "Restore" not in it.buckets.s3.head_object(Bucket=it.buckets.inputs, Key=KEY)


@pytest.mark.parametrize("days", [0, 2])
async def test_a_completed_restore_makes_the_object_due_at_once(
    postgres_dsn: str, store: LocalStore, days: int
) -> None:
    async with archived(postgres_dsn, store, restore_days=days) as it:
        if days:
            assert await it.check() == ("pending", "check")  # and it would be looked at again in five minutes
        else:
            assert (await it.plane.objects())[KEY]["state"] == "parked"
        for name in ("ObjectRestore:Post", "ObjectRestore:Completed"):
            record = aws(name, key="a+b.jpg")
            record["s3"]["bucket"]["name"] = it.buckets.inputs
            said = await it.plane.http.post(
                "/v1/notifications/s3", params={"token": WEBHOOK}, json={"Records": [record]}
            )
            assert said.json()["ignored"] == (name == "ObjectRestore:Post")
        assert (await (await it.plane.worker()).lease()).key == KEY


async def test_a_restore_that_is_under_way_is_waited_for(postgres_dsn: str, store: LocalStore) -> None:
    async with archived(postgres_dsn, store, restore_days=2) as it:
        store.fault(method="POST", bucket=it.buckets.inputs, status=409)
        assert await it.check() == ("pending", "check")
        assert await waits(it.plane) > 200


async def test_a_store_that_restores_nothing_parks_with_its_words(postgres_dsn: str, store: LocalStore) -> None:
    async with archived(postgres_dsn, store, restore_days=2) as it:
        store.fault(method="POST", bucket=it.buckets.inputs, status=403)
        assert (await it.check())[0] == "parked"
        assert "does not bring it back" in (await it.plane.objects())[KEY]["error"]


@contextlib.asynccontextmanager
async def archived(postgres_dsn: str, store: LocalStore, **more: Any) -> AsyncIterator[Checked]:
    """An object in an archive tier, which a worker was refused."""
    async with checked(postgres_dsn, store, **more) as it:
        it.buckets.s3.put_object(Bucket=it.buckets.inputs, Key=KEY, Body=b"photo", StorageClass="GLACIER")
        await it.plane.notify(event(KEY, bucket=it.buckets.inputs))
        worker = await it.plane.worker()
        lease = await worker.lease()
        said = {"reason": "archived", "message": "The file is in an archive tier.", "retry": False}
        await worker.ask(most=0, settle=[{"outcome": "failed", "id": lease.id, "token": lease.token, **said}])
        yield it


async def waits(plane: RunningPlane) -> float:
    """For how many seconds the object is not due yet."""
    [row] = await plane.sql("select extract(epoch from due_at - now())::float8 as seconds from objects")
    return float(row["seconds"])


async def test_strong_reads_are_asked_for_where_configured(postgres_dsn: str, store: LocalStore) -> None:
    for consistent in (True, False):
        async with gateway("plain", store.endpoint) as it:
            asked: list[str | None] = []

            async def note(request: Request, asked: list[str | None] = asked) -> None:
                if request.method == "HEAD":
                    asked.append(request.headers.get("x-tigris-consistent"))

            it.before = note
            async with checked(postgres_dsn, store, endpoint=it.endpoint, consistent_reads=consistent) as world:
                await world.deleted()
                await world.check()
            assert asked == ["true" if consistent else None]


async def test_an_event_that_comes_during_a_check_is_not_lost(postgres_dsn: str, store: LocalStore) -> None:
    async with checked(postgres_dsn, store, absent_checks=1) as it:
        await it.deleted()
        [claimed] = await it.plane.services.ledger.claim(1, "check", 1, None, 60)
        assert await it.plane.notify(event(KEY, bucket=it.buckets.inputs)) == {"accepted": 1}
        await it.plane.sql("update objects set deadline = now() - interval '1 second' where id = $1", claimed.id)
        assert await it.plane.services.ledger.reap() == 1
        assert (await (await it.plane.worker()).lease()).key == KEY


async def test_the_control_plane_checks_by_itself(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(absent_checks=2), store=store.endpoint) as plane:
        await plane.notify(event(KEY, bucket=buckets.inputs, eventName="OBJECT_DELETED"))

        async def is_gone() -> bool:
            return bool((await plane.objects())[KEY]["state"] == "gone")

        await until(is_gone)

"""Deletes are checked: against a real store, before any output is removed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from tests.infra.local.running import Running as LocalStore
from tests.webhook.buckets import Buckets, sent
from tests.webhook.plane import Running, configured, control_plane, event, pipeline, until
from webhook.absence import AbsenceChecker
from webhook.config import Config
from webhook.storage import Store
from webhook.storage.presign import Credentials

KEY = "a b.jpg"


@dataclass(frozen=True, slots=True)
class Checked:
    """A control plane whose checks the test makes, one by one."""

    plane: Running
    checker: AbsenceChecker
    buckets: Buckets

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
    postgres_dsn: str, store: LocalStore, *, config: Config | None = None, **more: Any
) -> AsyncIterator[Checked]:
    buckets = Buckets.made(store)
    config = config or buckets.configured(**more)
    async with control_plane(postgres_dsn, config, store=store.endpoint, loops=False) as plane:
        client = Store(store.endpoint, "auto", Credentials("tid_test", "tsec_test"), answer_seconds=1, attempts=1)
        routes = plane.plane.leases._routes
        yield Checked(plane, AbsenceChecker(plane.plane.ledger, routes, client), buckets)
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
    """Only 404s count, whatever comes in between; here none of them is true."""
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
    buckets = Buckets.made(store)
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


async def test_an_event_that_comes_during_a_check_is_not_lost(postgres_dsn: str, store: LocalStore) -> None:
    async with checked(postgres_dsn, store, absent_checks=1) as it:
        await it.deleted()
        [claimed] = await it.plane.plane.ledger.claim(1, "check", 1, None, 60)
        assert await it.plane.notify(event(KEY, bucket=it.buckets.inputs)) == {"accepted": 1}
        await it.plane.sql("update objects set deadline = now() - interval '1 second' where id = $1", claimed.id)
        assert await it.plane.plane.ledger.reap() == 1
        assert (await (await it.plane.worker()).lease()).key == KEY


async def test_the_control_plane_checks_by_itself(postgres_dsn: str, store: LocalStore) -> None:
    buckets = Buckets.made(store)
    async with control_plane(postgres_dsn, buckets.configured(absent_checks=2), store=store.endpoint) as plane:
        await plane.notify(event(KEY, bucket=buckets.inputs, eventName="OBJECT_DELETED"))

        async def is_gone() -> bool:
            return bool((await plane.objects())[KEY]["state"] == "gone")

        await until(is_gone)

"""Where outputs may be put, by PUTs that a real store carries out."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.requests import Request

from tests.infra.local.running import KEYS, PUBLISH_KEY, PUBLISH_SECRET, running
from tests.infra.local.running import RunningBucket as LocalStore
from tests.polling import until
from tests.webhook.buckets import BucketPair, sent
from tests.webhook.gateway import gateway
from tests.webhook.plane import ADMIN, control_plane, done, event
from webhook.config import Pipeline

PIPELINE = Pipeline.model_validate({"input": "s3://inbox/", "output": "s3://outbox/made/"})


async def test_an_output_is_new_or_replaces_what_the_last_result_put_there(
    postgres_dsn: str, store: LocalStore
) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(), store=store.endpoint) as plane:
        worker = await plane.worker()
        await plane.notify(event("a b.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        small, large = await worker.uploads(lease, "256.webp", "1600.webp", cache_control="max-age=300")
        assert (small.name, large.name) == ("256.webp", "1600.webp")
        assert small.headers == {
            "content-type": "text/plain",
            "cache-control": "max-age=300",
            "if-none-match": "*",
            "content-disposition": "inline",
            "content-encoding": "identity",
            "x-amz-meta-yurt-pipeline": "photos",
            "x-amz-meta-yurt-token": str(lease.token),
            "x-amz-meta-yurt-input-etag": "abc",
        }
        first = await sent(small)
        assert first.status_code == 200
        assert (await sent(small)).status_code == 412  # something is there now
        etag = first.headers["etag"].strip('"')
        said = buckets.s3.head_object(Bucket=buckets.outputs, Key="a b.jpg/256.webp")
        assert (said["ContentType"], said["CacheControl"]) == ("text/plain", "max-age=300")
        assert said["Metadata"] == {"yurt-pipeline": "photos", "yurt-token": str(lease.token), "yurt-input-etag": "abc"}
        outputs = [{"name": "256.webp", "etag": etag, "size": 5, "content_type": "text/plain"}]
        done = {"outcome": "done", "id": lease.id, "token": lease.token, "fetched": {"etag": "abc"}, "outputs": outputs}
        await worker.ask(most=0, settle=[done])

        await plane.notify(event("a b.jpg", bucket=buckets.inputs))
        again = await worker.lease()
        small, large = await worker.uploads(again, "256.webp", "1600.webp")
        assert small.headers["if-match"] == f'"{etag}"'
        assert "if-none-match" not in small.headers
        assert large.headers["if-none-match"] == "*"
        assert (await sent(small, b"newer")).status_code == 200
        assert (await sent(small, b"newer")).status_code == 412  # it is not what was there


async def test_every_header_is_signed(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(lease_seconds=200), store=store.endpoint) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        for conflict in (False, True):
            [upload] = await worker.uploads(lease, "a.webp", cache_control="no-store", conflict=conflict)
            query = parse_qs(urlsplit(upload.url).query)
            assert query["X-Amz-SignedHeaders"][0].split(";") == sorted({"host", "content-length", *upload.headers})
            assert 160 <= int(query["X-Amz-Expires"][0]) <= 180, "not as long as the lease"
            assert "tsec_test" not in upload.url
            assert (await sent(upload, b"more than announced")).status_code == 403
            assert (await sent(upload, b"less")).status_code == 403
            for loose in ("x-amz-acl", "x-amz-copy-source", "x-amz-tagging", "content-disposition", "content-encoding"):
                assert (await sent(upload, b"hello", **{loose: "x"})).status_code == 403, loose


async def test_what_the_pipeline_does_not_make_is_refused_before_it_is_uploaded(
    postgres_dsn: str, store: LocalStore
) -> None:
    buckets = BucketPair.made(store)
    config = buckets.configured(limits={"output_bytes": 1000})
    async with control_plane(postgres_dsn, config, store=store.endpoint) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        lease = await worker.lease()

        async def refused(*outputs: tuple[str, int, str]) -> str:
            wanted = [{"name": name, "size": size, "content_type": kind} for name, size, kind in outputs]
            body = {"token": lease.token, "etag": "abc", "outputs": wanted}
            answer = await worker.post(f"leases/{lease.id}/outputs", body)
            assert bool(answer.json()["uploads"]) is (answer.status_code == 200)
            return str(answer.json().get("error", ""))

        assert await refused(("a.webp", 5, "text/html")) == "content-type"
        assert await refused(("a.webp", 1001, "image/webp")) == "output-too-large"
        assert await refused(("result.json", 3 << 20, "application/json")) == "output-too-large"
        assert await refused(("a.webp", 999, "image/webp"), ("result.json", 1000, "application/json")) == ""
        assert await refused(("b.webp", 2, "image/webp")) == "output-too-large"  # with what was asked for before
        assert await refused(("a.webp", 900, "image/webp"), ("b.webp", 1, "image/webp")) == ""
        assert await refused(*((f"{number}.webp", 0, "image/webp") for number in range(63))) == "too-many-outputs"
        assert await refused(*((f"{number}.webp", 0, "image/webp") for number in range(62))) == ""


async def test_an_output_of_another_pipeline_is_not_replaced(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(), store=store.endpoint) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        buckets.put("a.jpg/a.webp", b"theirs", {"yurt-token": "1", "yurt-pipeline": "others"})
        assert (await worker.outputs(lease, "a.webp", conflict=True)).status_code == 409
        [row] = await plane.sql("select state::text, error->>'reason' as reason from objects")
        assert (row["state"], row["reason"]) == ("parked", "output-taken")


async def test_older_work_in_the_way_is_replaced(postgres_dsn: str, store: LocalStore) -> None:
    """A worker that lost its lease, or a ledger that was rebuilt: the object says under which token it was written."""
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(), store=store.endpoint) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        for metadata in (
            {"yurt-token": str(lease.token - 1)},
            {},
            {"yurt-token": "nonsense"},
            {"yurt-token": "9" * 40},
        ):
            etag = buckets.put("a.jpg/a.webp", repr(metadata).encode(), metadata)
            [blind] = await worker.uploads(lease, "a.webp")
            assert (await sent(blind)).status_code == 412
            [upload] = await worker.uploads(lease, "a.webp", conflict=True)
            assert upload.headers["if-match"] == f'"{etag}"'
            assert (await sent(upload)).status_code == 200
        buckets.s3.delete_object(Bucket=buckets.outputs, Key="a.jpg/a.webp")
        [upload] = await worker.uploads(lease, "a.webp", conflict=True)
        assert upload.headers["if-none-match"] == "*"


async def test_a_lease_may_write_again_what_it_wrote_itself(postgres_dsn: str, store: LocalStore) -> None:
    """The answer to its PUT was lost, so it was sent again and refused: what is there is its own."""
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(), store=store.endpoint) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        [upload] = await worker.uploads(lease, "a.webp")
        store.fault(method="PUT", bucket=buckets.outputs, status=500, effect="done")
        assert (await sent(upload)).status_code == 500
        assert (await sent(upload)).status_code == 412
        [upload] = await worker.uploads(lease, "a.webp", conflict=True)
        assert (await sent(upload)).status_code == 200


async def test_newer_work_is_never_replaced(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(), store=store.endpoint) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        buckets.put("a.jpg/a.webp", b"newer", {"yurt-token": str(lease.token + 1)})
        said = await worker.outputs(lease, "a.webp", conflict=True)
        assert (said.status_code, said.json()["error"]) == (409, "lease-lost")
        assert buckets.s3.get_object(Bucket=buckets.outputs, Key="a.jpg/a.webp")["Body"].read() == b"newer"


async def test_a_store_that_wants_etags_without_quotes_gets_them(postgres_dsn: str, store: LocalStore) -> None:
    """Ceph 16.2 answers every quoted If-Match with 412."""
    buckets = BucketPair.made(store)
    async with (
        gateway("ceph", store.endpoint) as ceph,
        control_plane(postgres_dsn, buckets.configured(), store=ceph.endpoint) as plane,
    ):
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        [upload] = await worker.uploads(lease, "a.webp")
        assert upload.headers["if-none-match"] == "*"
        etag = (await sent(upload)).headers["etag"].strip('"')
        await worker.ask(most=0, settle=[done(lease, {"a.webp": etag})])

        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        again = await worker.lease()
        [upload] = await worker.uploads(again, "a.webp")
        assert upload.headers["if-match"] == etag
        query = parse_qs(urlsplit(upload.url).query)
        assert "if-match" in query["X-Amz-SignedHeaders"][0].split(";")
        assert (await sent(upload, b"newer")).status_code == 200
        assert (await sent(upload, b"final")).status_code == 412
        [upload] = await worker.uploads(again, "a.webp", conflict=True)
        assert (await sent(upload, b"final")).status_code == 200
        assert buckets.s3.get_object(Bucket=buckets.outputs, Key="a.jpg/a.webp")["Body"].read() == b"final"


async def test_no_work_is_handed_out_where_nothing_keeps_a_slow_worker_from_overwriting(
    postgres_dsn: str, store: LocalStore
) -> None:
    buckets = BucketPair.made(store)
    async with (
        gateway("deaf", store.endpoint) as deaf,
        control_plane(postgres_dsn, buckets.configured(), store=deaf.endpoint) as plane,
    ):
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs), event("b.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        said = await worker.outputs(lease, "a.webp")
        assert (said.status_code, said.json()["error"]) == (409, "lease-lost")
        rows = await plane.objects()
        assert [(row["state"], row["attempts"]) for row in rows.values()] == [("pending", 0), ("pending", 0)]
        assert (await worker.ask(most=2)).leases == []
        assert (await plane.services.fleet.demand("local", 10)).pending == 0
        status = (await plane.admin("GET", "/v1/status")).json()
        assert 'Set unconditional = "stage"' in status["pipelines"]["photos"]["refused"]
        assert not buckets.keys()

        deaf.kind = "plain"
        await plane.services.conditions.probe_refused_again()
        assert len((await worker.ask(most=2, wait=5)).leases) == 2
        assert (await plane.admin("GET", "/v1/status")).json()["pipelines"]["photos"]["refused"] == ""
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


async def test_outputs_that_a_new_result_does_not_have_are_removed(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(), store=store.endpoint) as plane:
        worker = await plane.worker()
        for names in (("256.webp", "512.webp", "1600.webp", "2000.webp"), ("256.webp", "result.json")):
            await plane.notify(event("a.jpg", bucket=buckets.inputs))
            lease = await worker.lease()
            etags = {}
            for upload in await worker.uploads(lease, *names):
                etags[upload.name] = (await sent(upload, b"alike")).headers["etag"].strip('"')
            if "512.webp" not in names:
                buckets.put("a.jpg/1600.webp", b"edited by hand")
                buckets.put("a.jpg/2000.webp", b"same", {"yurt-token": str(lease.token + 1)})  # a newer result's
                buckets.put("a.jpg/b.jpg/512.webp", b"of another input")
                assert {"a.jpg/512.webp"} <= buckets.keys()  # not before the result is settled
            await worker.ask(most=0, settle=[done(lease, etags)])
        assert buckets.keys() == {
            "a.jpg/256.webp", "a.jpg/result.json", "a.jpg/1600.webp", "a.jpg/2000.webp", "a.jpg/b.jpg/512.webp"
        }  # fmt: skip


async def test_nobody_gets_the_object_while_its_leftovers_are_removed(postgres_dsn: str, store: LocalStore) -> None:
    """The same bytes have the same ETag: a DELETE that comes late would hit what the next lease publishes."""
    buckets = BucketPair.made(store)
    removing, go_on = asyncio.Event(), asyncio.Event()

    async def hold(request: Request) -> None:
        if request.method == "DELETE" and request.url.path.endswith("/512.webp"):
            removing.set()
            await go_on.wait()

    async with (
        gateway("plain", store.endpoint) as held,
        control_plane(postgres_dsn, buckets.configured(), store=held.endpoint) as plane,
    ):
        worker = await plane.worker()
        held.before = hold
        for names in (("256.webp", "512.webp"), ("256.webp",)):
            await plane.notify(event("a.jpg", bucket=buckets.inputs))
            lease = await worker.lease()
            uploads = await worker.uploads(lease, *names)
            etags = {u.name: (await sent(u, b"alike")).headers["etag"].strip('"') for u in uploads}
            settling = asyncio.create_task(worker.ask(most=0, settle=[done(lease, etags)]))
            if "512.webp" not in names:
                await asyncio.wait_for(removing.wait(), 10)
                await plane.notify(event("a.jpg", bucket=buckets.inputs))
                assert (await (await plane.worker()).ask()).leases == []
                go_on.set()
            assert [settled.accepted for settled in (await settling).settled] == [True]
        assert buckets.keys() == {"a.jpg/256.webp"}
        assert (await worker.lease()).key == "a.jpg"


async def test_a_key_that_leaves_no_room_for_outputs_is_parked_with_a_reason(
    postgres_dsn: str, store: LocalStore
) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(), store=store.endpoint) as plane:
        worker = await plane.worker()
        await plane.notify(event("ä" * 510, bucket=buckets.inputs))
        lease = await worker.lease()
        assert (await worker.outputs(lease, "a", "a" * 4)).status_code == 409
        [row] = (await plane.objects()).values()
        assert row["state"] == "parked"
        status = (await plane.admin("GET", "/v1/status")).json()
        [parked] = status["parked"]
        assert parked["reason"] == "key-too-long"
        assert "shorter name" in parked["message"]


async def test_a_store_that_does_not_answer_a_question_is_503(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(), store=store.endpoint) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        store.fault(method="HEAD", bucket=buckets.outputs, status=403)
        said = await worker.outputs(lease, "a.webp", conflict=True)
        assert (said.status_code, said.json()["error"]) == (503, "store-unavailable")
        assert int(said.headers["retry-after"]) >= 1
        assert (await worker.outputs(lease, "a.webp", conflict=True)).status_code == 200


@pytest.mark.parametrize(
    ("there", "may"),
    [
        ("Fri, 15 May 2026 10:30:05 GMT", False),
        ("Fri, 15 May 2026 10:30:00 GMT", False),
        ("Fri, 15 May 2026 10:29:59 GMT", True),
        ("", True),
    ],
    ids=["newer", "of the same second", "older", "it does not say"],
)
async def test_a_result_of_newer_content_is_not_replaced_while_a_region_may_be_behind(
    postgres_dsn: str, store: LocalStore, there: str, may: bool
) -> None:
    """Left by a worker that was lost before it could settle: the ledger does not know of it."""
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(replica_lag_seconds=30), store=store.endpoint) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        metadata = {"yurt-token": str(lease.token - 1), "yurt-input-etag": "newer"}
        if there:
            metadata["yurt-input-modified"] = parsedate_to_datetime(there).isoformat()
        buckets.put("a.jpg/a.webp", b"left behind", metadata)
        asked = {"name": "a.webp", "size": 5, "content_type": "text/plain", "conflict": True}
        body = {"token": lease.token, "etag": "abc", "modified": "2026-05-15T10:30:00Z", "outputs": [asked]}
        said = await worker.post(f"leases/{lease.id}/outputs", body)
        assert said.status_code == (200 if may else 409)
        if not may:
            status = (await plane.http.get("/v1/status", headers={"authorization": f"Bearer {ADMIN}"})).json()
            assert status["pipelines"]["photos"]["objects"] == {"pending": 1}


async def test_workers_upload_by_a_key_that_reads_nothing(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    key: dict[str, Any] = {"yurt_publish_access_key_id": PUBLISH_KEY, "yurt_publish_secret_access_key": PUBLISH_SECRET}
    config = buckets.configured(unsigned_headers="refuse")
    async with control_plane(postgres_dsn, config, store=store.endpoint, **key) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg", bucket=buckets.inputs))
        lease = await worker.lease()
        [upload] = await worker.uploads(lease, "a.webp")
        assert PUBLISH_KEY in upload.url
        assert PUBLISH_KEY not in lease.input.url
        assert (await sent(upload)).status_code == 200


async def test_where_lengths_are_not_fixed_what_lies_there_is_looked_at(postgres_dsn: str) -> None:
    """A bucket that knows no secret key computes no signature, so it takes another length than was signed."""
    with running(environment=dict.fromkeys(KEYS, "")) as loose:
        buckets = BucketPair.made(loose)
        config = buckets.configured(unsigned_headers="refuse", limits={"output_bytes": 10})
        async with control_plane(postgres_dsn, config, store=loose.endpoint) as plane:
            worker = await plane.worker()
            for key, body, state in (("a.jpg", b"hello", "done"), ("b.jpg", b"more than 10 bytes", "parked")):
                await plane.notify(event(key, bucket=buckets.inputs))
                lease = await worker.lease()
                [upload] = await worker.uploads(lease, "a.webp")
                etag = (await sent(upload, body)).headers["etag"].strip('"')
                [settled] = (await worker.ask(most=0, settle=[done(lease, {"a.webp": etag})])).settled
                assert settled.accepted is (state == "done")
                [row] = await plane.sql("select state::text as state from objects where key = $1", key)
                assert row["state"] == state

            async def removed() -> bool:
                return buckets.keys() == {"a.jpg/a.webp"}

            await until(removed)

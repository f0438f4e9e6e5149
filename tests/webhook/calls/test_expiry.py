"""Old calls are removed, and young ones stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.infra.local.running import RunningBucket
from tests.webhook.plane import configured, control_plane, pipeline
from webhook.calls.expiry import CallExpiry
from webhook.loops import LoopHealth

OPTIONS = {"bundle": "0" * 64, "function": "app:one"}


async def test_arguments_go_when_they_are_old_and_their_values_are_checked_for(
    postgres_dsn: str, store: RunningBucket
) -> None:
    s3 = store.s3()
    bucket, other = store.new_bucket(s3), store.new_bucket(s3)
    more = {"conditions": "quoted", "handler": "function", "on_delete": "remove"}
    config = configured(
        {
            "one-calls": pipeline(bucket, "results", options={**OPTIONS, "calls": True}, **more),
            "two": pipeline(other, "out2", options=OPTIONS, **more),
        }
    )
    for each in (bucket, other):
        s3.put_object(Bucket=each, Key="a", Body=b"x")
    async with control_plane(postgres_dsn, config, store=store.endpoint, loops=False) as plane:
        services = plane.services
        expiry = CallExpiry(services.ledger, services.pipelines, services.store, 24, LoopHealth())
        assert await expiry.look(datetime.now(UTC) - timedelta(hours=1)) == 0
        assert await plane.objects() == {}
        assert await expiry.look(datetime.now(UTC) + timedelta(hours=1)) == 1
        row = (await plane.objects())["a"]
        assert (row["state"], row["lane"]) == ("pending", "check"), "the control plane looks whether it is gone"
    assert [s3.list_objects_v2(Bucket=each)["KeyCount"] for each in (bucket, other)] == [0, 1]

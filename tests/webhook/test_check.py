"""What ``yurt check`` says of buckets on stores that differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.responses import Response

from tests.infra.local.running import RunningBucket as LocalStore
from tests.webhook.buckets import BucketPair
from tests.webhook.gateway import Kind, gateway
from tests.webhook.plane import configured, pipeline
from webhook.check import Finding, findings
from webhook.pool_settings import Pool
from webhook.secret_settings import Secrets
from workers.sandbox.child import jail


async def findings_of(endpoint: str, buckets: BucketPair, tmp_path: Any, **more: Any) -> dict[str, Finding]:
    """The findings on buckets and clock, by the first word of their subject."""
    config = configured({"photos": pipeline(buckets.inputs, buckets.outputs, **more)})
    keys = {"aws_access_key_id": SecretStr("tid_test"), "aws_secret_access_key": SecretStr("tsec_test")}
    results = await findings(config, Secrets(**keys, aws_endpoint_url_s3=endpoint), tmp_path)  # type: ignore[arg-type]
    return {finding.subject.partition(" ")[0]: finding for finding in results}


@pytest.mark.parametrize(
    ("kind", "more", "level", "words"),
    [
        ("plain", {}, "ok", "conditions are honoured: If-None-Match: * holds, If-Match holds with the ETag quoted"),
        ("ceph", {}, "ok", "If-Match holds with the ETag unquoted"),
        ("ceph", {"conditions": "unquoted"}, "ok", "unquoted"),
        ("ceph", {"conditions": "quoted"}, "failed", "but the configuration says conditions = quoted"),
        ("deaf", {}, "failed", "If-None-Match: * is ignored"),
        ("lenient", {}, "failed", "If-Match is ignored: a wrong ETag was taken"),
        ("refusing", {}, "failed", "If-None-Match is refused"),
        ("deaf", {"unconditional": "stage"}, "ok", "outputs are put aside and copied"),
    ],
)
async def test_an_output_is_what_its_store_honours(
    store: LocalStore, tmp_path: Any, kind: Kind, more: dict[str, str], level: str, words: str
) -> None:
    buckets = BucketPair.made(store)
    async with gateway(kind, store.endpoint) as faulty:
        output = (await findings_of(faulty.endpoint, buckets, tmp_path, **more))["output"]
    assert output.level == level
    assert words in output.message
    assert (level == "ok") == (output.advice == "")
    assert not buckets.keys()


async def test_whether_handlers_are_jailed_on_this_machine(tmp_path: Path) -> None:
    async def found(mode: str) -> list[str]:
        config = configured({"photos": pipeline(sandbox={"mode": mode})}, pools={"local": Pool()})
        return [each.level for each in await findings(config, Secrets(), tmp_path) if each.subject == "sandbox"]

    jailed = not jail.support().missing
    assert await found("on") == ["ok" if jailed else "warning"]
    assert await found("require") == ["ok" if jailed else "failed"]
    assert await found("off") == []


@pytest.mark.parametrize(
    ("url", "level"), [("http://yurt.example", "warning"), ("https://yurt.example", None), ("", None)]
)
async def test_a_public_url_without_tls(tmp_path: Any, url: str, level: str | None) -> None:
    found = await findings(configured(server={"public_url": url}), Secrets(), tmp_path)
    assert [finding.level for finding in found if finding.subject == "public URL"] == ([level] if level else [])


async def test_a_trash_is_tried(store: LocalStore, tmp_path: Any) -> None:
    buckets = BucketPair.made(store)
    there = {"on_delete": "trash", "trash": f"s3://{store.new_bucket(buckets.s3)}/"}
    assert (await findings_of(store.endpoint, buckets, tmp_path, **there))["trash"].level == "ok"
    nowhere = {"on_delete": "trash", "trash": "s3://no-such-bucket/"}
    assert (await findings_of(store.endpoint, buckets, tmp_path, **nowhere))["trash"].level == "failed"


async def test_what_a_listing_can(store: LocalStore, tmp_path: Any) -> None:
    buckets = BucketPair.made(store)
    async with gateway("plain", store.endpoint) as faulty:
        assert "it is empty" in (await findings_of(faulty.endpoint, buckets, tmp_path))["input"].message
        buckets.s3.put_object(Bucket=buckets.inputs, Key="a.jpg", Body=b"")
        assert "only what changed lately" in (await findings_of(faulty.endpoint, buckets, tmp_path))["input"].message
        faulty.drops = frozenset({"x-tigris-query"})
        assert "ignores X-Tigris-Query" in (await findings_of(faulty.endpoint, buckets, tmp_path))["input"].message


@pytest.mark.parametrize(("seconds", "words"), [(0, "agree"), (90, "ahead of"), (-90, "behind")])
async def test_clocks_that_differ_are_a_warning(store: LocalStore, tmp_path: Any, seconds: int, words: str) -> None:
    buckets = BucketPair.made(store)
    async with gateway("plain", store.endpoint) as faulty:

        def date(response: Response) -> None:
            response.headers["date"] = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)

        faulty.after = date
        clock = (await findings_of(faulty.endpoint, buckets, tmp_path))["clock"]
    assert words in clock.message
    assert clock.level == ("warning" if seconds else "ok")


async def test_what_would_end_the_start_is_found(
    store: LocalStore, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    buckets = BucketPair.made(store)
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    found = await findings_of(store.endpoint, buckets, tmp_path / "file/state")
    assert (found["folders"].level, found["store"].level) == ("failed", "failed")
    assert "YURT_STATE" in found["folders"].message
    assert "AWS_PROFILE" in found["store"].message

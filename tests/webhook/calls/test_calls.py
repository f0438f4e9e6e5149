"""Calls in the ledger; ``api/test_calls`` has them over HTTP."""

from __future__ import annotations

from tests.webhook.plane import configured, control_plane, pipeline
from webhook.calls.calls import PIPELINE, Calls

OPTIONS = {"bundle": "0" * 64, "function": "app:one"}


async def test_a_function_is_found_by_its_name_where_it_takes_calls(postgres_dsn: str) -> None:
    more = {"conditions": "quoted", "handler": "function"}
    config = configured(
        {
            PIPELINE.format("one"): pipeline(options={**OPTIONS, "calls": True}, **more),
            PIPELINE.format("two"): pipeline("in2", "out2", options=OPTIONS, **more),
        }
    )
    async with control_plane(postgres_dsn, config, loops=False) as plane:
        services = plane.services
        calls = Calls(services.ledger, services.pipelines, services.store)
        one = calls.function("one")
        assert one is not None
        assert one.key("ab") == "ab"
        assert [calls.function(name) for name in ("two", "none", "one-calls")] == [None, None, None]
        assert [progress.state for progress in await calls.wait(one, ["ab"], 20)] == ["unknown"]

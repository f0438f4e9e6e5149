"""Every replica shows how minting goes, also one that does not lead."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from tests.polling import until
from tests.webhook.plane import configured, control_plane, event, serving
from webhook.cli.status import render
from webhook.fleet.providers import MintOrder, ProviderRefused
from webhook.fleet.providers.local import LocalProvider
from webhook.pool_settings import Pool


async def refuses(_provider: LocalProvider, _order: MintOrder) -> str:
    raise ProviderRefused("no such image", hint="build it")


async def test_an_open_breaker_and_its_reason_are_told_by_a_replica_that_does_not_lead(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalProvider, "mint", refuses)
    config = configured(pools={"local": Pool(breaker_seconds=3600)})
    async with (
        control_plane(postgres_dsn, config) as leader,
        serving(leader.dsn, config, loops=False) as other,
    ):
        await leader.notify(event("a.jpg"))

        async def status() -> dict[str, Any]:
            return dict((await other.admin("GET", "/v1/status")).json())

        async def is_open() -> bool:
            return bool((await status())["pools"]["local"]["breaker"] == "open")

        await until(is_open)
        pool = (await status())["pools"]["local"]
        assert pool["failed_starts"] >= 1
        assert pool["last_failure"] == "mint-failed: no such image (build it)"
        console = Console(width=200, file=io.StringIO())
        console.print(render(await status()))
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert "pool local: nothing is minted after failed starts. The last: mint-failed: no such image" in shown
        metrics = (await other.http.get("/metrics")).text
        assert 'yurt_breaker_open{pool="local"} 1.0' in metrics
        assert f'yurt_failed_starts_total{{pool="local"}} {pool["failed_starts"]}.0' in metrics
        assert 'yurt_pool_frozen{pool="local"} 0.0' in metrics

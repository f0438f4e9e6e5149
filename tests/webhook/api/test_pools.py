"""Waking a pool over HTTP: who may, for how many machines, for how long, and what comes of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.polling import until
from tests.webhook.apps import App, app_of
from tests.webhook.ordered_machines import intended
from tests.webhook.plane import RunningPlane, configured, control_plane
from webhook.api import pools as pools_module
from webhook.api.pools import APP_MACHINES, APP_WAKES_AT_ONCE, APP_WISH_SECONDS
from webhook.config import Config
from webhook.pool_settings import WISH_SECONDS, Pool

WAKE = "/v1/pools/local/wake"


def pools(**of: Pool) -> Config:
    return configured().model_copy(update={"pools": {"local": Pool(), **of}})


async def woken(plane: RunningPlane, body: dict[str, Any] | None = None, path: str = WAKE) -> dict[str, Any]:
    response = await plane.admin("POST", path, **({} if body is None else {"json": body}))
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_a_wake_without_a_body_wants_one_machine_for_ten_minutes(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, pools(), loops=False) as plane:
        answer = await woken(plane)
        assert 590 < answer.pop("seconds") <= 600
        assert answer == {"pool": "local", "machines": 1, "ready": 0, "starting": 0}


async def test_the_greatest_wish_counts_and_is_only_ever_extended(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, pools(), loops=False) as plane:
        assert (await woken(plane, {"machines": 3, "seconds": 60}))["machines"] == 3
        answer = await woken(plane, {"seconds": 3_600})
        assert answer["machines"] == 3
        assert answer["seconds"] <= 60
        assert (await woken(plane, {"machines": 3, "seconds": 1}))["seconds"] > 50
        assert [row["machines"] for row in await plane.sql("select machines from wishes order by 1")] == [1, 3]


async def test_no_more_machines_than_the_limit_are_wished_for(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, pools(local=Pool(limit=2)), loops=False) as plane:
        assert (await woken(plane, {"machines": 1_000}))["machines"] == 2
        assert [row["machines"] for row in await plane.sql("select machines from wishes")] == [2]


async def test_what_is_there_is_told(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, pools(), loops=False) as plane:
        await intended(plane)
        await plane.worker()
        answer = await woken(plane)
        assert (answer["ready"], answer["starting"]) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        b'{"machines": 0}',
        b'{"machines": 1001}',
        b'{"machines": 1.5}',
        b'{"seconds": 0}',
        b'{"seconds": %d}' % (WISH_SECONDS + 1),
        b'{"seconds": "NaN"}',
        b'{"machine": 2}',
        b"[]",
        b"{",
        b"null",
    ],
)
async def test_a_wish_out_of_bounds_is_refused(postgres_dsn: str, body: bytes) -> None:
    async with control_plane(postgres_dsn, pools(), loops=False) as plane:
        response = await plane.admin("POST", WAKE, content=body)
        assert (response.status_code, response.json()["error"]) == (422, "malformed")
        assert await plane.sql("select from wishes") == []


async def test_a_pool_that_is_not_there_or_has_no_provider_cannot_be_woken(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, pools(mine=Pool(provider="none")), loops=False) as plane:
        unknown = await plane.admin("POST", "/v1/pools/gpu/wake")
        assert (unknown.status_code, unknown.json()["error"]) == (404, "unknown-pool")
        assert "there are: local, mine" in unknown.json()["message"]
        by_hand = await plane.admin("POST", "/v1/pools/mine/wake")
        assert (by_hand.status_code, by_hand.json()["error"]) == (409, "no-provider")


async def refused(app: App, pool: str = "local", /, **wish: Any) -> tuple[int, str, str]:
    response = await app.call("POST", f"/v1/pools/{pool}/wake", json=wish)
    return response.status_code, response.json()["error"], response.json()["message"]


async def test_an_app_wakes_the_pools_of_its_token_alone(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, pools(gpu=Pool()), loops=False) as plane:
        app = await app_of(plane, "wake:local")
        answer = await app.call("POST", WAKE, json={"machines": 2})
        assert (answer.status_code, answer.json()["machines"]) == (200, 2)
        status, error, message = await refused(app, "gpu")
        assert (status, error) == (403, "scope-missing")
        assert message.endswith("yurt tokens create NAME --scope wake:gpu")
        other = await app_of(plane, "upload:*", "read:*", "service:*", "call:*", "delete:*", "wake:gpu")
        assert (await refused(other))[:2] == (403, "scope-missing")
        assert (await (await app_of(plane, "wake:*")).call("POST", "/v1/pools/gpu/wake")).status_code == 200
        assert {row["pool"] for row in await plane.sql("select pool from wishes")} == {"local", "gpu"}


async def test_what_an_app_may_wish_for_has_bounds(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, pools(local=Pool(limit=100)), loops=False) as plane:
        app = await app_of(plane, "wake:local")
        bounds = {"machines": APP_MACHINES, "seconds": APP_WISH_SECONDS}
        for more in ({"machines": APP_MACHINES + 1}, {"seconds": APP_WISH_SECONDS + 1}):
            assert (await refused(app, **{**bounds, **more}))[:2] == (422, "wish-too-large")
            assert await plane.sql("select from wishes") == []
            await woken(plane, {**bounds, **more})  # an administrator may
            await plane.sql("delete from wishes")
        assert (await app.call("POST", WAKE, json=bounds)).json()["machines"] == APP_MACHINES


async def test_an_app_wakes_a_pool_only_so_often(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools_module, "APP_WAKES_PER_SECOND", 0.001)
    async with control_plane(postgres_dsn, pools(gpu=Pool()), loops=False) as plane:
        app = await app_of(plane, "wake:*")
        statuses = [(await app.call("POST", WAKE)).status_code for _ in range(APP_WAKES_AT_ONCE + 2)]
        assert statuses == [200] * APP_WAKES_AT_ONCE + [429] * 2
        limited = await app.call("POST", WAKE)
        assert limited.json()["error"] == "too-many-requests"
        assert 900 <= int(limited.headers["retry-after"]) <= 1000
        assert (await app.call("POST", "/v1/pools/gpu/wake")).status_code == 200, "each pool for itself"
        assert (await (await app_of(plane, "wake:local")).call("POST", WAKE)).status_code == 200
        await woken(plane)


async def test_an_app_learns_of_no_pool_but_its_own(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, pools(mine=Pool(provider="none")), loops=False) as plane:
        status, error, message = await refused(await app_of(plane, "wake:gpu"), "gpu")
        assert (status, error, message) == (404, "unknown-pool", "there is no pool of that name")
        assert "there are: mine" in (await refused(await app_of(plane, "wake:gpu", "wake:mine"), "gpu"))[2]
        assert (await refused(await app_of(plane, "wake:mine"), "mine"))[:2] == (409, "no-provider")


async def test_a_caller_without_a_token_learns_nothing(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, pools(), loops=False) as plane:
        for path in (WAKE, "/v1/pools/gpu/wake"):
            assert (await plane.http.post(path)).status_code == 401
        assert await plane.sql("select from wishes") == []


async def test_a_woken_pool_has_its_machine_and_says_why_and_what_it_cost(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, pools()) as plane:
        await woken(plane, {"machines": 1})

        async def is_ready() -> bool:
            return bool((await woken(plane))["ready"])

        await until(is_ready)
        [machine] = (await plane.admin("GET", "/v1/machines")).json()["machines"]
        assert machine["cause"] == "wake"
        pool = (await plane.admin("GET", "/v1/status")).json()["pools"]["local"]
        ahead = pool["ahead"]["wake"]
        assert (ahead["present"], ahead["minted"], ahead["helped"]) == (1, 1, 0)
        assert Decimal(ahead["usd"]) == 0
        metrics = (await plane.http.get("/metrics")).text
        assert 'yurt_ahead_minted_total{pool="local",reason="wake"} 1.0' in metrics
        assert 'yurt_ahead_helped_total{pool="local",reason="wake"} 0.0' in metrics

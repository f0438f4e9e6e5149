"""The market over HTTP: its key, answers that are lost, and requests that it would not take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from infra.market.market import Market
from infra.market.offers import MarketOffer
from infra.market.server import MarketServer

KEY = "key-of-the-account"
CREATION = {
    "image": "yurt:1",
    "disk": 8,
    "label": "yurt-a-1",
    "env": {},
    "runtype": "args",
    "args": ["worker"],
    "cancel_unavail": True,
}


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Market, MarketServer, httpx.AsyncClient]]:
    market = Market([MarketOffer(1, 11, 21, 0.2), MarketOffer(2, 12, 22, 0.3)])
    server = MarketServer(market, KEY)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with server.listening() as url, httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
        yield market, server, client


async def test_the_key_is_needed() -> None:
    async with served() as (_, server, client):
        refused = await client.get("/v1/instances/?limit=25", headers={"Authorization": "Bearer other"})
        assert (refused.status_code, refused.json()["error"]) == (404, "auth_error")
        assert (await client.get("/v1/instances/?limit=25")).json() == {"instances": [], "next_token": None}
        assert server.wrong == []


async def test_the_key_of_an_instance_destroys_it_and_does_nothing_else() -> None:
    async with served() as (market, server, client):
        mine, other = [(await client.put(f"/v0/asks/{n}/", json=CREATION)).json() for n in (1, 2)]
        headers = {"Authorization": f"Bearer {mine['instance_api_key']}"}
        assert (await client.get("/v1/instances/?limit=25", headers=headers)).status_code == 403
        refused = await client.delete(f"/v0/instances/{other['new_contract']}/", headers=headers)
        assert refused.status_code == 403
        destroyed = await client.delete(f"/v0/instances/{mine['new_contract']}/", headers=headers)
        assert destroyed.json() == {"success": True}
        assert [contract.id for contract in market.living()] == [other["new_contract"]]
        assert server.wrong == []


async def test_an_answer_that_is_lost_took_effect() -> None:
    async with served() as (market, _, client):
        market.faults.unanswered = {11}
        with pytest.raises(httpx.RemoteProtocolError):
            await client.put("/v0/asks/1/", json=CREATION)
        assert [contract.label for contract in market.living()] == ["yurt-a-1"]
        assert (await client.put("/v0/asks/2/", json=CREATION)).status_code == 200
        assert not market.faults.unanswered


async def test_what_the_market_does_not_take_is_noted() -> None:
    async with served() as (_, server, client):
        assert (await client.put("/v0/asks/1/", json={**CREATION, "runtype": "ssh"})).status_code == 400
        assert (await client.get("../elsewhere")).status_code == 400
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/v0/bundles/", content=b"[1")
        assert len(server.wrong) == 2


async def test_logs_are_shown_without_the_key() -> None:
    async with served() as (market, _, client):
        market.logs[7] = "no space left\n"
        shown = await client.get(f"{market.url}/logs/7", headers={"Authorization": ""})
        assert shown.text == "no space left\n"
        assert [(await client.get(f"{market.url}/logs/{name}")).status_code for name in ("8", "x", "7x")] == [404] * 3

"""Several replicas of the control plane share the machines of services: ReplicaWays, PassedOnRequests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.polling import until
from tests.webhook.proxy.serving import Serving, reachable, services_at, with_services
from tests.webhook.proxy.standin import ServerStandIn, standing_in
from webhook.proxy.replica_ways import PASSED_ON


@contextlib.asynccontextmanager
async def two_replicas(postgres_dsn: str) -> AsyncIterator[tuple[Serving, Serving, ServerStandIn]]:
    """A machine whose tunnel ends at the first of two replicas."""
    config = reachable(with_services(echo={}))
    async with (
        services_at(postgres_dsn, config) as first,
        first.replica(config) as second,
        standing_in() as server,
    ):
        yield first, second, server


async def test_a_request_goes_through_the_replica_where_the_tunnel_ends(postgres_dsn: str) -> None:
    async with two_replicas(postgres_dsn) as (first, second, server):
        asked = asyncio.create_task(second.ask("POST", "/services/echo/x?y=1", content=b"hello"))
        await until(lambda: second.load() == (1, 0))
        await first.serve(server)
        response = await asked
        assert response.json() == {"method": "POST", "target": "/x?y=1", "body": "hello"}
        [(_, _, seen)] = server.requests
        assert seen[b"via"] == [b"1.1 yurt"]
        assert not {name for name in seen if name.startswith(b"yurt-")}


async def test_replicas_share_a_machines_slot(postgres_dsn: str) -> None:
    async with two_replicas(postgres_dsn) as (first, second, server):
        async with asyncio.TaskGroup() as group:
            group.create_task(first.serve(server))
            asked = [group.create_task(each.ask("GET", "/services/echo/x")) for each in (first, second) * 5]
        assert [task.result().status_code for task in asked] == [200] * 10
        assert server.most_at_once == 1


async def test_only_replicas_pass_requests_on(postgres_dsn: str) -> None:
    async with two_replicas(postgres_dsn) as (first, _, server):
        async with asyncio.TaskGroup() as group:
            worker = group.create_task(first.serve(server))
            group.create_task(first.ask("GET", "/services/echo/x"))
        headers = {"yurt-machine": str(worker.result().id), "yurt-replica": "guessed"}
        refused = await first.plane.http.get(f"{PASSED_ON}echo/x", headers=headers)
        assert refused.status_code == 401
        assert len(server.requests) == 1
        own = {**headers, "yurt-replica": first.plane.services.proxy.replica_token, "yurt-machine": "99"}
        lost = await first.plane.http.get(f"{PASSED_ON}echo/x", headers=own)
        assert (lost.status_code, lost.headers["yurt-machine-lost"]) == (502, "unsent")


@pytest.mark.parametrize("path", ["/services/echo/die"])
async def test_a_machine_that_another_replica_loses_is_lost(postgres_dsn: str, path: str) -> None:
    async with two_replicas(postgres_dsn) as (first, second, server):
        async with asyncio.TaskGroup() as group:
            group.create_task(first.serve(server))
            response = await second.ask("POST", path)
        assert (response.status_code, response.json()["error"]) == (502, "machine-lost")
        assert len(server.requests) == 1

"""Workers that people start: invitations for several, and a worker that comes back after a restart."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.webhook.plane import RunningPlane, Worker, configured, control_plane, event
from webhook.fleet.manual_workers import ManualWorkers
from webhook.pool_settings import Pool
from workers import protocol

ROOMY = {"local": Pool(provider="none", limit=3)}


async def invited(plane: RunningPlane, **fields: Any) -> str:
    response = await plane.admin("POST", "/v1/invitations", json={"pool": "local", **fields})
    assert response.status_code == 201, response.text
    return str(response.json()["token"])


async def arrived(plane: RunningPlane, token: str, instance: str) -> protocol.Welcome:
    """A process that calls home and wants to be able to come back."""
    response = await plane.http.post(
        "/v1/workers/hello",
        json={"instance": instance * 16, "returns": True},
        headers={"authorization": f"Bearer {token}"},
    )
    assert response.status_code == 200, response.text
    return protocol.Welcome.model_validate_json(response.content)


def worker(plane: RunningPlane, welcome: protocol.Welcome) -> Worker:
    return Worker(plane.http, welcome.worker, welcome.token)


async def test_an_invitation_for_two_makes_two_workers_and_no_third(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=ROOMY), loops=False) as plane:
        token = await invited(plane, uses=2)
        first, second = await arrived(plane, token, "a"), await arrived(plane, token, "b")
        assert first.worker != second.worker
        # The answer was lost, and the process repeats its call: no further use.
        assert (await arrived(plane, token, "a")).worker == first.worker
        assert (await plane.hello(token, "c" * 16)).status_code == 401


async def test_an_invitation_without_end_is_limited_by_its_pool(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=ROOMY), loops=False) as plane:
        token = await invited(plane, uses=None, valid_seconds=None)
        answers = await asyncio.gather(*(plane.hello(token, letter * 16) for letter in "abcdef"))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 409, 409, 409]
        full = next(answer for answer in answers if answer.status_code == 409)
        assert (full.json()["error"], "3 machines" in full.json()["message"]) == ("pool-full", True)
        await plane.sql("update workers set state = 'gone' where id = (select min(id) from workers)")
        assert (await plane.hello(token, "g" * 16)).status_code == 200


async def test_an_invitation_that_has_expired_is_refused_and_removed(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=ROOMY), loops=False) as plane:
        token, lasting = await invited(plane, uses=5), await invited(plane, uses=5, valid_seconds=None)
        await plane.sql("update invitations set expires_at = now() where expires_at is not null")
        assert (await plane.hello(token, "a" * 16)).status_code == 401
        await ManualWorkers(plane.services.fleet, ROOMY).look()
        assert len(await plane.sql("select from invitations")) == 1
        assert (await plane.hello(lasting, "a" * 16)).status_code == 200


async def test_a_worker_whose_answer_was_lost_comes_in_after_its_invitation_was_used_up(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=ROOMY), loops=False) as plane:
        token = await invited(plane, uses=1, valid_seconds=1000)
        first = await arrived(plane, token, "a")
        await ManualWorkers(plane.services.fleet, ROOMY).look()
        assert (await arrived(plane, token, "a")).worker == first.worker
        assert (await plane.hello(token, "c" * 16)).status_code == 401
        await plane.sql("update invitations set used_at = used_at - interval '2 hours'")
        await ManualWorkers(plane.services.fleet, ROOMY).look()
        assert not await plane.sql("select from invitations")


async def test_a_worker_that_a_person_started_stays_when_idle(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=ROOMY), loops=False) as plane:
        assert (await arrived(plane, await plane.invite(), "a")).idle_seconds is None
        once = await plane.invite()
        await plane.sql("update workers set provider = 'local' where state = 'intended'")
        assert (await arrived(plane, once, "b")).idle_seconds == ROOMY["local"].worker_idle_seconds


async def test_a_restarted_process_is_the_same_worker_and_its_earlier_life_is_over(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=ROOMY), loops=False) as plane:
        first = await arrived(plane, await plane.invite(), "a")
        await plane.notify(event("a.jpg"))
        lease = await worker(plane, first).lease()
        early = {"token": lease.token, "handling": {"number": 1000, "tokens": [], "alone": False}}
        assert (await worker(plane, first).post(f"leases/{lease.id}/heartbeat", early)).status_code == 200
        second = await arrived(plane, first.credential, "b")
        assert (second.worker, second.credential) == (first.worker, first.credential)
        assert (await plane.objects())["a.jpg"]["state"] == "pending"
        # The earlier process, should it still run, can neither renew nor lease nor come back by its instance.
        beat = await worker(plane, first).post(f"leases/{lease.id}/heartbeat", {"token": lease.token})
        assert beat.status_code in (401, 409)
        again = await worker(plane, second).lease()
        assert (again.id, again.attempt) == (lease.id, 1)
        # Reports of the new process count from the beginning, too.
        reported = {"token": again.token, "handling": {"number": 1, "tokens": [again.token], "alone": False}}
        assert (await worker(plane, second).post(f"leases/{again.id}/heartbeat", reported)).status_code == 200
        [row] = await plane.sql("select handling from workers")
        assert row["handling"] == [again.token]
        # Its answer was lost: it repeats its call, and keeps its leases.
        third = await arrived(plane, first.credential, "b")
        assert (await plane.objects())["a.jpg"]["state"] == "leased"
        assert (await worker(plane, third).post("leases", {"max": 0})).status_code == 200


async def test_a_worker_that_was_revoked_does_not_come_back(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=ROOMY), loops=False) as plane:
        first = await arrived(plane, await plane.invite(), "a")
        await plane.sql("update workers set state = 'gone', token_hash = null")
        response = await plane.hello(first.credential, "b" * 16)
        assert (response.status_code, "yurt invite" in response.json()["message"]) == (401, True)


async def test_a_credential_is_no_token_for_other_calls(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=ROOMY), loops=False) as plane:
        first = await arrived(plane, await plane.invite(), "a")
        stolen = Worker(plane.http, first.worker, first.credential)
        assert (await stolen.post("leases", {})).status_code == 401

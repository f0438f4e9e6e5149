"""What people are told of machines, and what they may do with them, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.polling import until
from tests.webhook.ordered_machines import intended
from tests.webhook.plane import RunningPlane, Worker, configured, control_plane, event
from tests.webhook.settlements import done, failed
from webhook.config import Config
from webhook.fleet import provider_set
from webhook.fleet.providers import ProviderRefused
from webhook.fleet.providers.local import LocalProvider
from webhook.ledger.machines import START_PHASES, ProviderReport, Stranger
from webhook.pool_settings import Pool
from workers.protocol import Welcome


async def shown(plane: RunningPlane, id: int) -> dict[str, Any]:
    response = await plane.admin("GET", f"/v1/machines/{id}")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def rounded_phases(plane: RunningPlane, id: int) -> dict[str, int]:
    """The steps of a machine's start that are over."""
    machine = await shown(plane, id)
    seconds = {phase: machine[f"{phase}_seconds"] for phase in START_PHASES}
    return {phase: round(value) for phase, value in seconds.items() if value is not None}


def problem(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


async def test_a_list_has_pages_and_leaves_out_what_is_gone(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        ids = [(await intended(plane)).id for _ in range(5)]
        await plane.sql("update workers set state = 'gone' where id = $1", ids[1])
        first = (await plane.admin("GET", "/v1/machines?limit=3")).json()
        assert [machine["id"] for machine in first["machines"]] == [ids[4], ids[3], ids[2]]
        second = (await plane.admin("GET", f"/v1/machines?limit=3&after={first['next']}")).json()
        assert ([machine["id"] for machine in second["machines"]], second["next"]) == ([ids[0]], None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=gone", [0]),
        ("state=ready", [2]),
        ("provider=home", [1]),
        ("pool=local", [1, 2]),
        ("pool=other", []),
    ],
)
async def test_a_list_by_filters(postgres_dsn: str, query: str, expected: list[int]) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        ids = [(await intended(plane)).id, (await intended(plane, "home")).id, (await plane.worker()).id]
        await plane.sql("update workers set state = 'gone' where id = $1", ids[0])
        found = (await plane.admin("GET", f"/v1/machines?{query}")).json()["machines"]
        assert sorted(machine["id"] for machine in found) == [ids[n] for n in expected]


async def test_everything_about_one_machine(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        intent = await intended(plane)
        await plane.hello(intent.token)
        await plane.sql("update workers set costed_at = costed_at - interval '1 hour' where id = $1", intent.id)
        machine = await shown(plane, intent.id)
        assert Decimal("0.38") <= Decimal(machine.pop("usd_spent")) < Decimal("0.39"), "once and an hour"
        assert all(0 <= machine.pop(f"{name}_seconds") < 20 for name in ("age", "state", "idle", "silent"))
        assert machine == {
            "id": intent.id, "label": intent.label, "pool": "local", "provider": "local", "ref": "r-1",
            "state": "ready", "reason": "", "suspicion": "", "offer": "o-7", "machine": "m-7", "host": "h-7",
            "loading": None,
            "rented_seconds": machine["rented_seconds"], "booted_seconds": machine["booted_seconds"],
            "process_seconds": None, "weights_seconds": None, "load_seconds": None, "first_result_seconds": None,
            "service_weights_seconds": None, "service_ready_seconds": None,
            "slots": 2, "leases": 0, "cause": "demand", "usd_per_hour": "0.36", "usd_once": "0.02",
        }  # fmt: skip


async def test_the_steps_of_a_cold_start(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        intent = await intended(plane)
        welcome = Welcome.model_validate_json((await plane.hello(intent.token, process_seconds=2.0)).content)
        worker = Worker(plane.http, welcome.worker, welcome.token)
        moments = {"created_at": 100, "rented_at": 90, "ready_at": 50}
        for name, ago in moments.items():
            await plane.sql(f"update workers set {name} = yurt_now() - make_interval(secs => $1)", ago)
        await worker.ask(most=1, wait=0)
        await plane.sql("update workers set asked_at = ready_at + interval '7 seconds'")
        await plane.notify(event("a.jpg"), event("b.jpg"))
        for _ in range(2):  # the second result is none of the cold start's
            lease = await worker.lease()
            await plane.sql("update workers set leased_at = leased_at - interval '3 seconds'")
            settlement = failed(lease, retry=False) if lease.key == "a.jpg" else done(lease)
            await worker.ask(most=0, settle=[settlement], load_seconds=2.0)
        await plane.notify(event("c.jpg"))
        await worker.ask(most=1, load_seconds=9.0)  # what is loaded after the first result is none of it, either
        assert await rounded_phases(plane, intent.id) == {
            "rented": 10, "booted": 38, "process": 2, "weights": 7, "load": 2, "first_result": 6,
        }  # fmt: skip


async def test_the_steps_of_a_start_that_ends_with_a_server(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        worker = await plane.worker()
        await plane.sql("insert into service_machines values ($1, 'echo', 0, yurt_now())", worker.id)
        for state in ("loading", "loading", "starting", "failing", "starting", "ready", "loading", "ready"):
            assert (await worker.post("services/echo/report", {"state": state})).status_code == 200
            # As if the next report came so much later.
            for moment in ("ordered", "weights", "ready"):
                await plane.sql(f"update workers set service_{moment}_at = service_{moment}_at - interval '10 seconds'")
        assert await rounded_phases(plane, worker.id) == {"service_weights": 20, "service_ready": 30}


async def test_a_service_without_models_has_no_step_of_weights(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        worker = await plane.worker()
        await plane.sql("insert into service_machines values ($1, 'echo', 0, yurt_now())", worker.id)
        for state in ("starting", "ready"):
            await worker.post("services/echo/report", {"state": state})
        assert await rounded_phases(plane, worker.id) == {"service_ready": 0}


async def test_what_a_machine_has_cost_is_what_was_spent(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        intent = await intended(plane)
        await plane.sql("update workers set costed_at = costed_at - interval '1 hour' where id = $1", intent.id)
        await plane.services.fleet.reprice(intent.id, Decimal("3.6"))
        await plane.sql("update workers set costed_at = costed_at - interval '10 minutes' where id = $1", intent.id)
        await plane.admin("POST", f"/v1/machines/{intent.id}/slay")
        await plane.services.fleet.gone(intent.id)
        machine = await shown(plane, intent.id)
        total = (await plane.admin("GET", "/v1/costs")).json()["total_usd"]
        assert abs(Decimal(machine["usd_spent"]) - Decimal(total)) < Decimal("1E-15")
        assert Decimal(total) >= Decimal("0.98"), "0.02 once, 0.36 in the first hour, 0.60 in ten minutes"


async def test_an_order_that_was_not_confirmed_has_cost_nothing(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        intent = await intended(plane, ref="")
        await plane.sql("update workers set costed_at = costed_at - interval '1 hour' where id = $1", intent.id)
        machine = await shown(plane, intent.id)
        assert (machine["ref"], machine["usd_spent"], machine["silent_seconds"]) == ("", "0", None)


async def test_a_machine_that_drains_finishes_its_lease_and_gets_no_other(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"), event("b.jpg"))
        lease = await worker.lease()
        response = await plane.admin("POST", f"/v1/machines/{worker.id}/drain")
        assert response.status_code == 200, response.text
        assert [response.json()[name] for name in ("state", "reason", "leases")] == ["draining", "operator", 1]
        assert (await worker.post(f"leases/{lease.id}/heartbeat", {"token": lease.token})).status_code == 200
        again = await plane.admin("POST", f"/v1/machines/{worker.id}/drain")
        assert (again.status_code, again.json()["state"]) == (200, "draining")
        [row] = await plane.sql("select state from objects where key = 'a.jpg'")
        assert row["state"] == "leased"


async def test_a_machine_that_is_slain_loses_its_token_and_its_leases_and_they_are_not_suspected(
    postgres_dsn: str,
) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        lease = await worker.lease()
        response = await plane.admin("POST", f"/v1/machines/{worker.id}/slay")
        assert response.status_code == 200, response.text
        assert [response.json()[name] for name in ("state", "reason", "leases")] == ["slaying", "operator", 0]
        heartbeat = await worker.post(f"leases/{lease.id}/heartbeat", {"token": lease.token})
        assert heartbeat.status_code in (401, 409), "its token is revoked, or remembered for a second, without a lease"
        row = (await plane.objects())["a.jpg"]
        assert (row["state"], row["attempts"], row["losses"]) == ("pending", 0, 0)
        again = await plane.admin("POST", f"/v1/machines/{worker.id}/slay")
        assert (again.status_code, again.json()["state"]) == (200, "slaying")


async def test_what_cannot_be_done_is_told(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        intent = await intended(plane)
        assert problem(await plane.admin("POST", f"/v1/machines/{intent.id}/drain")) == (409, "not-ready")
        await plane.sql("update workers set state = 'gone' where id = $1", intent.id)
        for verb in ("drain", "slay"):
            assert problem(await plane.admin("POST", f"/v1/machines/{intent.id}/{verb}")) == (409, "machine-gone")
        for number in (intent.id + 1, 0, "x", 2**63):
            assert problem(await plane.admin("GET", f"/v1/machines/{number}")) == (404, "unknown-machine")
            assert problem(await plane.admin("POST", f"/v1/machines/{number}/slay")) == (404, "unknown-machine")


@contextlib.asynccontextmanager
async def minting(dsn: str) -> AsyncIterator[tuple[RunningPlane, dict[str, Any]]]:
    """A control plane with one worker of its own, which is ready."""
    config = configured(pools={"local": Pool(minimum=1)})
    async with control_plane(dsn, config) as plane:

        async def ready() -> dict[str, Any] | None:
            machines = (await plane.admin("GET", "/v1/machines?state=ready")).json()["machines"]
            return machines[0] if machines else None

        await until(ready)
        yield plane, await ready() or {}


async def test_the_provider_destroys_what_is_slain_and_gives_the_log_of_what_lives(postgres_dsn: str) -> None:
    async with minting(postgres_dsn) as (plane, machine):
        path = f"/v1/machines/{machine['id']}"
        log = (await plane.admin("GET", f"{path}/log")).json()["log"]
        assert f"{machine['label']}.log" in log.splitlines()[0]
        await plane.admin("POST", f"{path}/slay")

        async def gone() -> bool:
            return bool((await shown(plane, machine["id"]))["state"] == "gone")

        await until(gone)


async def refuses(_provider: LocalProvider, _label: str) -> str:
    raise ProviderRefused("the key is refused", hint="make another")


async def hangs(_provider: LocalProvider, _label: str) -> str:
    return await asyncio.Future()


async def breaks(_provider: LocalProvider, _label: str) -> str:
    raise RuntimeError("the client is closed")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (refuses, "the key is refused (make another)"),
        (hangs, "did not answer within 0.05 s"),
        (breaks, "the client is closed"),
    ],
)
async def test_a_provider_that_gives_no_log(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, fault: Any, says: str
) -> None:
    monkeypatch.setattr(LocalProvider, "boot_log", fault)
    monkeypatch.setattr(provider_set, "LOG_SECONDS", 0.05)
    async with control_plane(postgres_dsn, loops=False) as plane:
        response = await plane.admin("GET", f"/v1/machines/{(await intended(plane)).id}/log")
        assert problem(response) == (503, "provider-unavailable")
        assert says in response.json()["message"]


async def test_machines_without_a_log(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        known = await intended(plane)
        assert (await plane.admin("GET", f"/v1/machines/{known.id}/log")).json() == {"log": ""}
        former = await intended(plane, "former")
        response = await plane.admin("GET", f"/v1/machines/{former.id}/log")
        assert problem(response) == (503, "provider-unavailable")
        assert "no provider former in the configuration" in response.json()["message"]
        by_hand = await plane.worker()
        assert problem(await plane.admin("GET", f"/v1/machines/{by_hand.id}/log")) == (409, "no-provider")


async def test_providers_are_made_when_the_configuration_names_them(postgres_dsn: str) -> None:
    config = Config.model_validate({**configured().model_dump(), "providers": {"home": {"kind": "local"}}})
    async with control_plane(postgres_dsn, config, loops=False) as plane:
        assert set(plane.services.providers.by_name) == {"local", "home"}


async def test_machines_of_another_installation_are_listed_and_slain_by_their_label(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        fleet, label = plane.services.fleet, "yurt-local-99999999000000000000"
        await fleet.note_strangers("local", [Stranger(label, "r-\x001"), Stranger(label[:-1] + "1", "r-2")])
        await fleet.report({}, {"local": ProviderReport()})
        page = (await plane.admin("GET", "/v1/machines")).json()
        assert [stranger["label"] for stranger in page["strangers"]] == [label, label[:-1] + "1"]
        assert not (await plane.admin("GET", "/v1/machines?provider=home")).json()["strangers"]
        assert not (await plane.admin("GET", "/v1/machines?after=7")).json()["strangers"]
        provider = (await plane.admin("GET", "/v1/status")).json()["providers"]["local"]
        assert (provider["strangers"], provider["stranger"]) == (2, label)
        assert 'yurt_stranger_machines{provider="local"} 2.0' in (await plane.http.get("/metrics")).text
        slain = await plane.admin("POST", "/v1/strangers/slay", json={"label": label})
        assert (slain.status_code, slain.json()["slaying"]) == (200, True)
        assert await fleet.note_strangers("local", [Stranger(label, "r-1")]) == {label}
        gone = await plane.admin("POST", "/v1/strangers/slay", json={"label": label[:-1] + "1"})
        assert problem(gone) == (404, "unknown-stranger")
        await fleet.report({}, {"another": ProviderReport()})
        assert not (await plane.admin("GET", "/v1/machines")).json()["strangers"], "local is no longer configured"

"""The autoscaler with a provider that fails in all the ways providers do."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from structlog.testing import capture_logs

from tests.polling import until
from tests.webhook.fleet.cloud_fleet import (
    URL,
    Cloud,
    CloudFleet,
    fails,
    hangs,
    list_fails,
    list_hangs,
    pool,
    shows_nothing,
)
from tests.webhook.fleet.fleet_memory import MemoryFleet
from tests.webhook.fleet.providers.contract import labels
from webhook.fleet import autoscaler as module
from webhook.fleet.autoscaler import Autoscaler
from webhook.fleet.pool_at_provider import UNSEEN_SECONDS
from webhook.fleet.providers import (
    Instance,
    Offer,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
)
from webhook.ledger.machines import Machine, MachineState, Terms

# ── a provider that fails ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("answer", [list_fails, list_hangs])
async def test_a_list_that_fails_freezes_minting_and_gone_but_not_slaying(
    answer: Callable[[], Awaitable[Sequence[Instance]]],
) -> None:
    cloud_fleet = CloudFleet(call_seconds=0.05)
    rows = await cloud_fleet.ready(2)
    await cloud_fleet.fleet.upload("a", 5)
    await cloud_fleet.fleet.slaying(rows[0].id, "idle", MachineState.READY)
    cloud_fleet.cloud.on_list = answer
    with capture_logs() as logs:
        await cloud_fleet.turns(3)
    assert cloud_fleet.status.frozen
    assert cloud_fleet.cloud.slain == [rows[0].label]
    assert cloud_fleet.fleet.states() == {MachineState.SLAYING: 1, MachineState.READY: 1}
    assert [log["event"] for log in logs].count("frozen") == 1
    cloud_fleet.cloud.on_list = None
    await cloud_fleet.turns(2)
    assert not cloud_fleet.autoscaler.pools["a"].frozen
    assert cloud_fleet.fleet.states() == {MachineState.GONE: 1, MachineState.READY: 1, MachineState.BOOTING: 2}


async def test_a_list_that_is_unexpectedly_empty_freezes_until_it_answers_again() -> None:
    cloud_fleet = CloudFleet(lag_seconds=5)
    rows = await cloud_fleet.ready(2)
    await cloud_fleet.fleet.slaying(rows[0].id, "idle", MachineState.READY)
    await cloud_fleet.fleet.upload("a", 5)
    await cloud_fleet.fleet.advance(20)
    await cloud_fleet.fleet.call(rows[1].id)
    cloud_fleet.cloud.on_list = shows_nothing
    await cloud_fleet.turns(10)
    assert cloud_fleet.status.frozen
    assert cloud_fleet.fleet.states() == {MachineState.SLAYING: 1, MachineState.READY: 1}
    cloud_fleet.cloud.on_list = None
    await cloud_fleet.turns(1)
    assert cloud_fleet.fleet.states() == {MachineState.GONE: 1, MachineState.READY: 1, MachineState.BOOTING: 2}


async def test_a_list_that_lags_hides_no_machine_that_was_just_minted() -> None:
    cloud_fleet = CloudFleet(lag_seconds=10)
    cloud_fleet.cloud.on_list = shows_nothing
    await cloud_fleet.fleet.upload("a", 1)
    await cloud_fleet.turns(9)
    assert cloud_fleet.fleet.states() == {MachineState.BOOTING: 1}
    assert not cloud_fleet.cloud.slain


async def test_destroyed_is_only_what_a_later_list_no_longer_shows() -> None:
    cloud_fleet = CloudFleet()
    (row,) = await cloud_fleet.ready(1)
    cloud_fleet.cloud.on_slay = lambda: fails(ProviderError("try later"))
    await cloud_fleet.fleet.slaying(row.id, "idle", MachineState.READY)
    await cloud_fleet.turns(3)
    assert cloud_fleet.fleet.alive(MachineState.SLAYING) == [row]
    assert cloud_fleet.cloud.slain == [row.label] * 3
    cloud_fleet.cloud.on_slay = None
    await cloud_fleet.turns(2)
    assert cloud_fleet.fleet.alive(MachineState.GONE) == [row]


async def test_a_provider_that_agreed_to_slay_is_not_asked_at_every_turn() -> None:
    cloud_fleet = CloudFleet()
    (row,) = await cloud_fleet.ready(1)
    await cloud_fleet.fleet.take(row.id, 1)
    await cloud_fleet.fleet.settle(row.id)

    async def still_there() -> Sequence[Instance]:
        return [Instance(row.label, row.ref or "")]

    cloud_fleet.cloud.on_list = still_there
    await cloud_fleet.fleet.slaying(row.id, "idle", MachineState.READY)
    await cloud_fleet.turns(10)
    assert cloud_fleet.cloud.slain == [row.label]
    await cloud_fleet.turns(1)
    assert cloud_fleet.cloud.slain == [row.label] * 2
    assert row.state is MachineState.SLAYING


async def test_a_mint_that_failed_after_it_made_a_machine_leaves_none() -> None:
    cloud_fleet = CloudFleet(pool(provider="cloud", limit=1))
    cloud_fleet.cloud.after_mint = lambda: fails(ProviderError("502 bad gateway"))
    await cloud_fleet.fleet.upload("a", 1)
    with capture_logs() as logs:
        await cloud_fleet.turns(1)
    assert cloud_fleet.cloud.there
    cloud_fleet.cloud.after_mint = None
    await cloud_fleet.turns(4)
    assert cloud_fleet.fleet.states() == {MachineState.GONE: 1, MachineState.BOOTING: 1}
    assert (len(cloud_fleet.cloud.there), cloud_fleet.cloud.most) == (1, 1)
    assert cloud_fleet.status.failed == 1
    unanswered = cloud_fleet.fleet.rows[1]
    assert unanswered.ref == f"ref-{unanswered.label}", "what it cost is counted"
    assert unanswered.token not in str(logs)


async def test_a_mint_that_hangs_is_given_up_and_counts_as_failed() -> None:
    cloud_fleet = CloudFleet(pool(provider="cloud", mint_seconds=0.02))
    cloud_fleet.cloud.on_mint = hangs
    await cloud_fleet.fleet.upload("a", 1)
    await cloud_fleet.turns(1)
    assert (cloud_fleet.status.failed, cloud_fleet.fleet.rows[1].reason) == (1, "mint-failed")


async def test_a_busy_provider_is_left_alone_and_that_is_no_failure() -> None:
    cloud_fleet = CloudFleet()
    cloud_fleet.cloud.on_mint = lambda: fails(ProviderBusy("no room", retry_seconds=20))
    await cloud_fleet.fleet.upload("a", 1)
    await cloud_fleet.turns(20)
    assert len(cloud_fleet.fleet.rows) == 1
    assert (cloud_fleet.status.failed, cloud_fleet.status.breaker) == (0, "closed")
    cloud_fleet.cloud.on_mint = None
    await cloud_fleet.turns(1)
    assert cloud_fleet.fleet.states() == {MachineState.GONE: 1, MachineState.BOOTING: 1}


async def test_a_refusal_opens_the_breaker_at_once() -> None:
    cloud_fleet = CloudFleet()
    cloud_fleet.cloud.on_mint = lambda: fails(ProviderRefused("bad key", hint="set another"))
    await cloud_fleet.fleet.upload("a", 1)
    with capture_logs() as logs:
        await cloud_fleet.turns(30)
    assert len(cloud_fleet.fleet.rows) == 1
    assert cloud_fleet.status.breaker == "open"
    assert any("set another" in str(log) for log in logs)


async def test_a_probe_that_calls_home_closes_the_breaker() -> None:
    cloud_fleet = CloudFleet(pool(provider="cloud", breaker_seconds=30))
    cloud_fleet.cloud.on_mint = lambda: fails(ProviderError("500"))
    await cloud_fleet.fleet.upload("a", 3)
    await cloud_fleet.turns(10)
    assert (cloud_fleet.status.failed, cloud_fleet.status.breaker) == (3, "open")
    cloud_fleet.cloud.on_mint = None
    await cloud_fleet.turns(30)
    assert (cloud_fleet.fleet.states()[MachineState.BOOTING], cloud_fleet.status.breaker) == (
        1,
        "probing",
    )
    cloud_fleet.call_home()
    await cloud_fleet.turns(1)
    assert (cloud_fleet.fleet.states()[MachineState.BOOTING], cloud_fleet.status.breaker) == (
        2,
        "closed",
    )


async def test_a_machine_that_exited_at_the_provider_is_destroyed() -> None:
    cloud_fleet = CloudFleet()
    (row,) = await cloud_fleet.ready(1)
    cloud_fleet.cloud.there[row.label] = Instance(row.label, row.ref or "", running=False)
    await cloud_fleet.turns(2)
    assert (row.state, row.reason) == (MachineState.GONE, "exited")


async def test_machines_are_not_slain_for_calling_in_vain_while_the_control_plane_was_away() -> None:
    cloud_fleet = CloudFleet(pool(provider="cloud", boot_seconds=100))
    (row,) = await cloud_fleet.ready(1)
    await cloud_fleet.fleet.upload("a", 1)
    await cloud_fleet.turns(1)
    await cloud_fleet.fleet.advance(500)
    cloud_fleet.start({"a": pool(provider="cloud", boot_seconds=100)})
    await cloud_fleet.turns(20)
    assert cloud_fleet.fleet.states() == {MachineState.READY: 1, MachineState.BOOTING: 1}
    await cloud_fleet.turns(110)
    assert row.reason == "silent"
    assert "boot-deadline" in {other.reason for other in cloud_fleet.fleet.rows.values()}


async def test_what_a_machine_cost_that_did_not_end_itself_is_counted_before_it_is_destroyed() -> None:
    async def crashes() -> None:
        costed.append(row.costed)
        raise asyncio.CancelledError

    costed: list[float] = []
    settings = pool(provider="cloud", orphan_seconds=200)
    cloud_fleet = CloudFleet(settings)
    (row,) = await cloud_fleet.ready(1)
    await cloud_fleet.fleet.advance(1_000)
    cloud_fleet.start({"a": settings})
    cloud_fleet.cloud.on_slay = crashes
    with contextlib.suppress(asyncio.CancelledError):
        await cloud_fleet.turns(1)
    assert (row.reason, costed) == ("silent", [cloud_fleet.fleet.now])


@pytest.mark.parametrize(("failing_turns", "turns"), [(20, 20), (1_000, int(UNSEEN_SECONDS))])
async def test_what_must_have_ended_itself_is_destroyed_once_a_list_shows_it_or_none_comes_for_a_while(
    failing_turns: int, turns: int
) -> None:
    settings = pool(provider="cloud", orphan_seconds=200)
    cloud_fleet = CloudFleet(settings)
    (row,) = await cloud_fleet.ready(1)
    await cloud_fleet.fleet.advance(1_000)
    cloud_fleet.start({"a": settings})
    back = cloud_fleet.fleet.now
    while row.label in cloud_fleet.cloud.there and cloud_fleet.fleet.now < back + 200:
        cloud_fleet.cloud.on_list = list_fails if cloud_fleet.fleet.now < back + failing_turns else None
        await cloud_fleet.turns(1)
    assert (cloud_fleet.fleet.now - 1, row.costed) == (back + turns, back + turns), "it has cost until then"


async def test_a_machine_that_did_not_boot_is_avoided_though_there_is_a_crash_once_it_is_being_slain() -> None:
    async def offers() -> Sequence[Offer]:
        return [Offer("o", Decimal(1), machine="m")]

    async def crashes(*_: object) -> bool:
        raise asyncio.CancelledError

    cloud_fleet = CloudFleet(pool(provider="cloud", boot_seconds=100))
    cloud_fleet.cloud.on_offers = offers
    await cloud_fleet.fleet.upload("a", 1)
    await cloud_fleet.turns(2)
    await cloud_fleet.fleet.advance(101)
    with mock.patch.object(cloud_fleet.fleet, "slaying", crashes), contextlib.suppress(asyncio.CancelledError):
        await cloud_fleet.turns(1)
    assert await cloud_fleet.fleet.avoided("cloud") == {"m"}


@pytest.mark.parametrize(("away", "avoided"), [(False, frozenset({"m"})), (True, frozenset())])
async def test_a_machine_that_had_nobody_to_call_home_to_is_not_avoided(away: bool, avoided: frozenset[str]) -> None:
    async def offers() -> Sequence[Offer]:
        return [Offer("o", Decimal(1), machine="m")]

    settings = pool(provider="cloud", boot_seconds=100, orphan_seconds=200)
    cloud_fleet = CloudFleet(settings)
    cloud_fleet.cloud.on_offers = offers
    await cloud_fleet.fleet.upload("a", 1)
    await cloud_fleet.turns(2)
    (row,) = cloud_fleet.fleet.rows.values()
    await cloud_fleet.fleet.advance(301)
    if away:
        cloud_fleet.start({"a": settings})
    await cloud_fleet.turns(1)
    assert row.reason == "boot-deadline"
    assert await cloud_fleet.fleet.avoided("cloud") == avoided


async def test_the_ledger_may_be_gone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud_fleet = CloudFleet()
    await cloud_fleet.ready(1)

    async def gone() -> Sequence[Machine]:
        raise ConnectionRefusedError("no ledger")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(cloud_fleet.fleet, "machines", gone)
        await cloud_fleet.turns(130)
    assert {log["error"] for log in logs} == {"no ledger"}
    await cloud_fleet.turns(1)
    assert cloud_fleet.fleet.states() == {MachineState.READY: 1}


async def test_machines_of_a_provider_that_is_no_longer_configured_are_drained_and_named_once() -> None:
    cloud_fleet = CloudFleet(pool(provider="cloud"))
    (row,) = await cloud_fleet.ready(1)
    row.provider = "elsewhere"
    with capture_logs() as logs:
        await cloud_fleet.turns(3)
    assert row.state is MachineState.DRAINING
    abandoned = [log for log in logs if log["event"] == "abandoned"]
    assert [(log["label"], log["log_level"]) for log in abandoned] == [(row.label, "error")]


async def test_a_provider_that_hangs_or_fails_stalls_no_other() -> None:
    cloud_fleet = CloudFleet()
    hanging, failing = Cloud(on_list=list_hangs), Cloud(on_list=list_fails)
    pools = {name: pool(provider=name) for name in ("cloud", "hanging", "failing")}
    cloud_fleet.start(pools, hanging=hanging, failing=failing)
    for name in pools:
        await cloud_fleet.fleet.upload(name, 1)
    stop = asyncio.Event()
    running = asyncio.create_task(cloud_fleet.autoscaler.run(stop))
    await until(lambda: cloud_fleet.cloud.there and cloud_fleet.autoscaler.providers["failing"].list_failures >= 3)
    assert not hanging.there
    assert not failing.there
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_pool_that_fails_stalls_no_other_of_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud_fleet = CloudFleet()
    cloud_fleet.start({"bad": pool(provider="cloud"), "a": pool(provider="cloud")})
    whole = cloud_fleet.fleet.demand

    async def demand(pool: str, most: int) -> Any:
        if pool == "bad":
            raise RuntimeError("bad pool")
        return await whole(pool, most)

    monkeypatch.setattr(cloud_fleet.fleet, "demand", demand)
    await cloud_fleet.fleet.upload("a", 1)
    await cloud_fleet.turns(1)
    assert cloud_fleet.fleet.states() == {MachineState.BOOTING: 1}


async def test_work_in_a_pool_without_machines_is_looked_at_when_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud_fleet = CloudFleet()
    looked, whole = dict.fromkeys("ab", 0), cloud_fleet.fleet.demand

    async def demand(pool: str, most: int) -> Any:
        looked[pool] += 1
        return await whole(pool, most)

    monkeypatch.setattr(cloud_fleet.fleet, "demand", demand)
    cloud_fleet.tick_seconds = 3600.0
    cloud_fleet.start({name: pool(provider="cloud") for name in "ab"})
    await cloud_fleet.fleet.upload("b", 1)
    stop = asyncio.Event()
    running = asyncio.create_task(cloud_fleet.autoscaler.run(stop))
    await until(lambda: cloud_fleet.cloud.there)  # the first turn of b
    cloud_fleet.autoscaler.wake()
    await until(lambda: looked == {"a": 2, "b": 2})  # b had none when its turn began
    await cloud_fleet.fleet.upload("a", 1)
    cloud_fleet.autoscaler.wake()
    await until(lambda: len(cloud_fleet.cloud.there) == 2)
    assert looked == {"a": 3, "b": 2}
    stop.set()
    async with asyncio.timeout(20):
        await running


async def test_it_stops_when_told_even_where_a_provider_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.05)
    cloud_fleet = CloudFleet()
    asked, stop = asyncio.Event(), asyncio.Event()

    async def hang() -> Sequence[Instance]:
        asked.set()
        return await list_hangs()

    cloud_fleet.cloud.on_list = hang
    running = asyncio.create_task(cloud_fleet.autoscaler.run(stop))
    await asyncio.wait_for(asked.wait(), 20)
    stop.set()
    async with asyncio.timeout(20):
        await running


def test_a_pool_of_an_unknown_provider_is_refused() -> None:
    with pytest.raises(ValueError, match="not configured: nowhere"):
        Autoscaler(MemoryFleet(), {"a": pool(provider="nowhere")}, {}, url=URL)


@dataclass
class Disturbances:
    """What goes wrong, and when: drawn from a seed."""

    cloud_fleet: CloudFleet
    random: random.Random

    async def trouble(self, chance: float) -> None:
        """Nothing, an error, or a call that is given up."""
        if self.random.random() < chance:
            await self.random.choice([lambda: fails(ProviderError("down")), hangs])()

    async def lists(self) -> Sequence[Instance] | None:
        await self.trouble(0.2)
        return [] if self.random.random() < 0.1 else None

    async def happen(self) -> None:
        """Between two turns: uploads, calls, deaths, a crash of the control plane."""
        fleet, cloud, draw = self.cloud_fleet.fleet, self.cloud_fleet.cloud, self.random
        if draw.random() < 0.3:
            await fleet.upload("a", draw.randrange(6))
        for row in list(fleet.rows.values()):
            if row.label in cloud.there and draw.random() < 0.5:
                fleet.hello(row.label, row.token)
                await fleet.call(row.id)
                await (fleet.settle(row.id) if row.leased else fleet.take(row.id, 1))
        for label in [label for label in cloud.there if draw.random() < 0.03]:
            cloud.there.pop(label)
        if draw.random() < 0.05:
            await fleet.intend("a", "cloud", 4)
            self.cloud_fleet.start({"a": POOL})


POOL = pool(provider="cloud", limit=4, mint_seconds=0.02, idle_seconds=10, boot_seconds=30)


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_the_limit_holds_and_all_comes_right_in_the_end(seed: int) -> None:
    cloud_fleet = CloudFleet(POOL, lag_seconds=3, call_seconds=0.02)
    disturbances = Disturbances(cloud_fleet, random.Random(seed))
    cloud = cloud_fleet.cloud
    cloud.on_list = disturbances.lists
    cloud.on_mint = cloud.after_mint = cloud.on_slay = lambda: disturbances.trouble(0.15)
    with capture_logs():
        for _ in range(120):
            await cloud_fleet.turns(1)
            await disturbances.happen()
            assert sum(row.state is not MachineState.GONE for row in cloud_fleet.fleet.rows.values()) <= 4
        cloud.on_list = cloud.on_mint = cloud.after_mint = cloud.on_slay = None
        for _ in range(400):
            await cloud_fleet.turns(1)
            cloud_fleet.call_home()
            for row in cloud_fleet.fleet.alive(MachineState.READY) + cloud_fleet.fleet.alive(MachineState.DRAINING):
                await cloud_fleet.fleet.call(row.id)
                await (cloud_fleet.fleet.settle(row.id) if row.leased else cloud_fleet.fleet.take(row.id, 1))
    assert cloud_fleet.fleet.most <= 4
    assert cloud_fleet.fleet.pending["a"] == 0
    assert not cloud_fleet.cloud.there
    assert set(cloud_fleet.fleet.states()) <= {MachineState.GONE}
    assert labels(cloud.there.values()) == set()


async def test_what_a_machine_costs_is_counted_while_it_is_listed_and_until_the_list_lacked_it() -> None:
    it = CloudFleet(pool(provider="cloud", silent_seconds=600))
    it.cloud.lag_seconds = 30
    [row] = await it.ready(1)
    row.terms = Terms(usd_per_hour=Decimal(3600))
    row.costed = it.fleet.now

    def spent() -> Decimal:
        return sum(it.fleet.spent.values(), Decimal(0))

    began = it.fleet.now
    for _ in range(30):
        await it.turns(1)
        await it.fleet.call(row.id)
    assert spent() >= 20, "a dollar a second, counted every ten seconds"
    it.cloud.there.clear()
    ended = it.fleet.now
    await it.turns(5)
    assert spent() <= Decimal(ended - began), "it may have ended"
    await it.turns(700)
    assert row.state is MachineState.GONE
    assert spent() == pytest.approx(Decimal(ended - began), abs=2), "though it was taken for gone much later"


async def test_what_a_machine_pays_for_its_models_is_noted_with_its_intent() -> None:
    fleet, cloud = MemoryFleet(pending=Counter(a=1)), Cloud()

    async def offers() -> Sequence[Offer]:
        return [Offer("", Decimal("0.5"), Decimal("0.1"), usd_per_gb=Decimal("0.02"))]

    cloud.on_offers = offers
    autoscaler = Autoscaler(
        fleet, {"a": pool(provider="cloud")}, {"cloud": cloud}, url=URL, clock=lambda: fleet.now,
        weights_bytes={"a": 5_000_000_001}.__getitem__,
    )  # fmt: skip
    await autoscaler.tick()
    assert [row.terms.usd_once for row in fleet.rows.values()] == [Decimal("0.200001")], "rounded up"

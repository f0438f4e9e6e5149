"""What every `Fleet` must do. A ledger's own tests run `CHECKS` against it, each in a world of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Protocol

import pytest

from webhook.fleet.fleet import Fleet
from webhook.ledger.machines import (
    SLAYING_SECONDS,
    Budget,
    Demand,
    Intent,
    LastSigns,
    Machine,
    MachineState,
    NotIntended,
    PoolReport,
    ProviderReport,
    Stranger,
    Terms,
    Woken,
    installation_of,
)


class FleetWorld(Protocol):
    """A fleet and what happens around it. Pools ``a`` and ``b`` exist; its clock only moves by `advance`."""

    @property
    def fleet(self) -> Fleet: ...

    async def advance(self, seconds: float) -> None:
        """Move the ledger's clock on."""

    async def upload(self, pool: str, count: int) -> None:
        """So many objects of the pool become due now."""

    async def call_home(self, intent: Intent) -> bool:
        """A machine says hello with the intent's token; whether it was let in."""

    async def call(self, id: int) -> bool:
        """A machine that has called home makes any authenticated call; whether its token was accepted."""

    async def take(self, id: int, count: int) -> int:
        """A machine asks for leases; how many it was granted."""

    async def settle(self, id: int) -> None:
        """A machine settles all that it has leased as done."""

    async def wake(self, pool: str, machines: int, seconds: float) -> Woken:
        """A caller wishes for machines."""
        ...

    async def slay_stranger(self, label: str) -> bool:
        """An operator wants a stranger slain; whether it is known."""

    async def reported(self) -> tuple[dict[str, PoolReport], dict[str, ProviderReport]]:
        """What the fleet was told of pools and providers, summed up."""
        ...


async def intend(world: FleetWorld, pool: str = "a", limit: int = 20) -> Intent:
    intent = await world.fleet.intend(pool, "local", limit)
    assert isinstance(intent, Intent)
    return intent


async def ready(world: FleetWorld, pool: str = "a") -> Intent:
    intent = await intend(world, pool)
    assert await world.fleet.minted(intent.id, f"ref-{intent.id}")
    assert await world.call_home(intent)
    return intent


async def machine(world: FleetWorld, id: int) -> Machine | None:
    found = [row for row in await world.fleet.machines() if row.id == id]
    assert len(found) < 2
    return found[0] if found else None


async def state(world: FleetWorld, id: int) -> MachineState:
    row = await machine(world, id)
    return MachineState.GONE if row is None else row.state


async def an_intent_is_known_before_it_is_minted(world: FleetWorld) -> None:
    intent = await intend(world)
    row = await machine(world, intent.id)
    assert row is not None
    assert (row.label, row.pool, row.provider) == (intent.label, "a", "local")
    assert (row.state, row.ref, row.leased, row.reason) == (MachineState.INTENDED, None, 0, None)


async def labels_and_tokens_are_unique_and_tokens_not_shown(world: FleetWorld) -> None:
    intents = [await intend(world) for _ in range(3)]
    assert len({intent.label for intent in intents}) == 3
    assert len({intent.token for intent in intents}) == 3
    assert all("-a-" in intent.label and intent.token not in repr(intent) for intent in intents)
    assert all(len(intent.token) >= 16 for intent in intents)


async def labels_hold_the_installations_id(world: FleetWorld) -> None:
    own_id = await world.fleet.installation()
    assert re.fullmatch("[0-9a-f]{8}", own_id)
    assert installation_of((await intend(world)).label) == own_id == await world.fleet.installation()


async def strangers_are_those_of_the_last_list_and_operators_choose_which_are_slain(world: FleetWorld) -> None:
    one, two = Stranger("yurt-a-1", "r1"), Stranger("yurt-a-2", "r2")
    assert not await world.slay_stranger("yurt-a-1")
    assert not await world.fleet.note_strangers("cloud", [one, two])
    assert await world.slay_stranger("yurt-a-1")
    assert await world.fleet.note_strangers("elsewhere", [Stranger("yurt-a-3", "r3")]) == frozenset()
    assert await world.fleet.note_strangers("cloud", [one, two]) == {"yurt-a-1"}
    assert await world.fleet.note_strangers("cloud", []) == frozenset()
    assert await world.fleet.note_strangers("cloud", [one, two]) == frozenset(), "it was gone meanwhile"


async def the_limit_holds_for_callers_at_once(world: FleetWorld) -> None:
    answers = await asyncio.gather(*(world.fleet.intend("a", "local", 3) for _ in range(12)))
    assert sum(isinstance(answer, Intent) for answer in answers) == 3
    assert len(await world.fleet.machines()) == 3


async def the_limit_counts_all_that_is_not_gone_of_all_providers(world: FleetWorld) -> None:
    slain = await intend(world)
    await ready(world)
    assert await world.fleet.slaying(slain.id, "idle", MachineState.INTENDED)
    assert await world.fleet.intend("a", "elsewhere", 2) is NotIntended.LIMIT
    assert await world.fleet.gone(slain.id)
    assert isinstance(await world.fleet.intend("a", "elsewhere", 2), Intent)


async def the_limit_is_the_pools_own(world: FleetWorld) -> None:
    await intend(world, "a", 1)
    assert isinstance(await world.fleet.intend("b", "local", 1), Intent)
    assert await world.fleet.intend("a", "local", 1) is NotIntended.LIMIT


async def a_limit_of_0_mints_nothing(world: FleetWorld) -> None:
    assert await world.fleet.intend("a", "local", 0) is NotIntended.LIMIT
    assert not await world.fleet.machines()


async def minted_makes_it_boot(world: FleetWorld) -> None:
    intent = await intend(world)
    assert await world.fleet.minted(intent.id, "ref")
    row = await machine(world, intent.id)
    assert row is not None
    assert (row.state, row.ref) == (MachineState.BOOTING, "ref")


async def a_machine_may_call_home_before_its_ref_is_known(world: FleetWorld) -> None:
    intent = await intend(world)
    assert await world.call_home(intent)
    assert await state(world, intent.id) is MachineState.READY
    assert await world.fleet.minted(intent.id, "late")
    row = await machine(world, intent.id)
    assert row is not None
    assert (row.state, row.ref) == (MachineState.READY, "late")


async def what_is_gone_or_never_was_stays_so(world: FleetWorld) -> None:
    intent = await intend(world)
    await world.fleet.slaying(intent.id, "idle", MachineState.INTENDED)
    assert await world.fleet.gone(intent.id)
    for id in (intent.id, intent.id + 1_000):
        assert not await world.fleet.minted(id, "ref")
        assert not await world.fleet.drain(id, "idle")
        assert not await world.fleet.gone(id)
        assert not await world.fleet.slaying(id, "idle", MachineState.READY)
    assert not await world.fleet.machines()
    assert not await world.call_home(intent)


async def draining_ends_leases_but_not_those_held(world: FleetWorld) -> None:
    await world.upload("a", 5)
    intent = await ready(world)
    assert await world.take(intent.id, 2) == 2
    assert await world.fleet.drain(intent.id, "idle")
    assert await world.take(intent.id, 2) == 0
    row = await machine(world, intent.id)
    assert row is not None
    assert (row.state, row.leased) == (MachineState.DRAINING, 2)
    await world.settle(intent.id)
    assert await world.fleet.demand("a", 10) == Demand(3, 0)


async def only_what_is_ready_drains(world: FleetWorld) -> None:
    intent = await intend(world)
    assert not await world.fleet.drain(intent.id, "idle")
    await world.fleet.minted(intent.id, "ref")
    assert not await world.fleet.drain(intent.id, "idle")
    await world.call_home(intent)
    assert await world.fleet.drain(intent.id, "idle")
    assert not await world.fleet.drain(intent.id, "idle")
    assert await state(world, intent.id) is MachineState.DRAINING


async def slaying_revokes_the_token_and_frees_the_leases(world: FleetWorld) -> None:
    await world.upload("a", 3)
    intent = await ready(world)
    assert await world.take(intent.id, 2) == 2
    assert await world.call(intent.id)
    assert await world.fleet.slaying(intent.id, "silent", MachineState.READY)
    assert not await world.call(intent.id)
    assert (await world.fleet.demand("a", 10)).leased == 0
    row = await machine(world, intent.id)
    assert row is not None
    assert (row.state, row.leased, row.reason) == (MachineState.SLAYING, 0, "silent")
    await world.advance(3_600)
    assert await world.fleet.demand("a", 10) == Demand(3, 0)


async def slaying_revokes_the_one_time_token(world: FleetWorld) -> None:
    intent = await intend(world)
    assert await world.fleet.slaying(intent.id, "boot-deadline", MachineState.INTENDED)
    assert not await world.call_home(intent)
    assert await state(world, intent.id) is MachineState.SLAYING


async def a_judgement_of_another_state_is_void(world: FleetWorld) -> None:
    intent = await intend(world)
    await world.fleet.minted(intent.id, "ref")
    assert await world.call_home(intent)
    assert not await world.fleet.slaying(intent.id, "boot-deadline", MachineState.BOOTING)
    assert await state(world, intent.id) is MachineState.READY
    assert await world.call(intent.id)


async def only_what_is_slain_is_gone(world: FleetWorld) -> None:
    intent = await ready(world)
    assert not await world.fleet.gone(intent.id)
    assert await world.fleet.slaying(intent.id, "idle", MachineState.READY)
    assert await world.fleet.gone(intent.id)
    assert await machine(world, intent.id) is None


async def demand_is_counted_up_to_a_cap_for_each_pool(world: FleetWorld) -> None:
    assert await world.fleet.demand("a", 10) == Demand(0, 0)
    await world.upload("a", 7)
    await world.upload("b", 2)
    assert await world.fleet.demand("a", 5) == Demand(5, 0)
    assert await world.fleet.demand("a", 10) == Demand(7, 0)
    intent = await ready(world)
    assert await world.take(intent.id, 3) == 3
    assert await world.fleet.demand("a", 10) == Demand(4, 3)
    assert await world.fleet.demand("b", 10) == Demand(2, 0)


async def ages_are_the_databases(world: FleetWorld) -> None:
    intent = await intend(world)
    await world.advance(4)
    await world.fleet.minted(intent.id, "ref")
    await world.advance(5)
    row = await machine(world, intent.id)
    assert row is not None
    assert (row.age_seconds, row.state_seconds) == pytest.approx((9, 5))
    assert (row.silent_seconds, row.idle_seconds) == pytest.approx((9, 0))
    await world.call_home(intent)
    await world.advance(6)
    row = await machine(world, intent.id)
    assert row is not None
    assert (row.age_seconds, row.state_seconds) == pytest.approx((15, 6))
    assert (row.silent_seconds, row.idle_seconds) == pytest.approx((6, 6))


async def a_late_ref_does_not_restart_the_state(world: FleetWorld) -> None:
    intent = await intend(world)
    await world.call_home(intent)
    await world.advance(3)
    await world.fleet.minted(intent.id, "ref")
    row = await machine(world, intent.id)
    assert row is not None
    assert row.state_seconds == pytest.approx(3)


async def any_call_ends_silence_but_only_work_ends_idleness(world: FleetWorld) -> None:
    await world.upload("a", 1)
    intent = await ready(world)
    await world.advance(10)
    assert await world.call(intent.id)
    row = await machine(world, intent.id)
    assert row is not None
    assert (row.silent_seconds, row.idle_seconds) == pytest.approx((0, 10))
    assert await world.take(intent.id, 1) == 1
    await world.advance(5)
    row = await machine(world, intent.id)
    assert row is not None
    assert (row.leased, row.idle_seconds) == (1, 0)
    await world.settle(intent.id)
    await world.advance(2)
    row = await machine(world, intent.id)
    assert row is not None
    assert (row.leased, row.idle_seconds) == pytest.approx((0, 2))


async def reports_show_states_as_they_are_and_counts_that_only_grow(world: FleetWorld) -> None:
    broken = PoolReport(
        "open",
        frozen=True,
        failed_starts=3,
        last_failure="mint-failed: no room\0",
        last_boot_log="/logs/a.log\nTraceback",
    )
    await world.fleet.report({"a": broken, "b": PoolReport()}, {"p": ProviderReport(1, 2, "timed out")})
    await world.fleet.report({"a": PoolReport(failed_starts=1)}, {"p": ProviderReport(1, 0, "")})
    pools, providers = await world.reported()
    assert (pools["a"].breaker, pools["a"].frozen, pools["a"].failed_starts) == ("closed", False, 4)
    assert pools["a"].last_failure.startswith("mint-failed: no room")
    assert pools["a"].last_boot_log == "/logs/a.log\nTraceback"
    assert providers == {"p": ProviderReport(2, 2, "timed out")}


async def a_pool_that_is_no_longer_reported_counts_as_closed(world: FleetWorld) -> None:
    await world.fleet.report({"a": PoolReport("open", frozen=True, failed_starts=3, last_failure="x")}, {})
    await world.fleet.report({"b": PoolReport()}, {})
    pools, _ = await world.reported()
    assert pools == {"a": PoolReport("closed", False, 3, "x"), "b": PoolReport()}


HOUR = 3_600
TERMS = Terms(usd_per_hour=Decimal(1), usd_once=Decimal("0.5"), reserve_seconds=1_800, offer="7", machine="m", host="h")
"""The most that such a machine can cost once it has to go at once is 1 $."""


async def rent(world: FleetWorld, budget: Budget, pool: str = "a", terms: Terms = TERMS) -> Intent | NotIntended:
    return await world.fleet.intend(pool, "market", 20, terms, budget)


async def rented(world: FleetWorld, pool: str = "a", terms: Terms = TERMS) -> Intent:
    intent = await rent(world, Budget(), pool, terms)
    assert isinstance(intent, Intent)
    assert await world.fleet.minted(intent.id, f"ref-{intent.id}")
    return intent


async def what_a_machine_costs_is_known(world: FleetWorld) -> None:
    row = await machine(world, (await rented(world)).id)
    assert row is not None
    assert (row.machine, row.host, row.usd_per_hour) == ("m", "h", Decimal(1))


async def cost_is_counted_from_the_intent_until_it_is_gone(world: FleetWorld) -> None:
    intent = await rented(world)
    await world.advance(HOUR)
    await world.fleet.accrue()
    spending = await world.fleet.spending_today("a")
    assert spending.pool_spent == pytest.approx(Decimal("1.5"), abs=Decimal("0.01"))
    await world.fleet.slaying(intent.id, "idle", MachineState.BOOTING)
    await world.advance(HOUR)
    assert await world.fleet.gone(intent.id)
    await world.advance(HOUR)
    await world.fleet.accrue()
    spending = await world.fleet.spending_today("a")
    assert spending.pool_spent == pytest.approx(Decimal("2.5"), abs=Decimal("0.01"))
    assert spending.pool_bound == 0
    assert spending.all_spent == spending.pool_spent
    assert (await world.fleet.spending_today("b")).pool_spent == 0


async def what_is_not_counted_yet_is_bound(world: FleetWorld) -> None:
    one, two = [await rented(world, terms=Terms(usd_per_hour=Decimal(1))) for _ in range(2)]
    await world.advance(HOUR)
    await world.fleet.accrue([one.id])
    spending = await world.fleet.spending_today("a")
    assert (spending.pool_spent, spending.pool_bound) == pytest.approx((Decimal(1), Decimal(1)), abs=Decimal("0.01"))
    await world.fleet.accrue([])
    await world.fleet.slaying(two.id, "idle", MachineState.BOOTING)
    await world.fleet.gone(two.id)
    assert (await world.fleet.spending_today("a")).pool_spent == pytest.approx(Decimal(2), abs=Decimal("0.01"))


async def spent_until(world: FleetWorld, signs: LastSigns, *, calls: bool = False, counted: bool = False) -> Decimal:
    """What a machine has cost, at a dollar an hour, that is found to be gone an hour after its intent."""
    intent = await rented(world, terms=Terms(usd_per_hour=Decimal(1)))
    before = (await world.fleet.spending_today("a")).pool_spent
    assert not calls or await world.call_home(intent)
    await world.advance(HOUR)
    if counted:
        await world.fleet.accrue([intent.id])
    await world.fleet.slaying(intent.id, "vanished", MachineState.READY if calls else MachineState.BOOTING)
    assert await world.fleet.gone(intent.id, signs)
    return (await world.fleet.spending_today("a")).pool_spent - before


async def a_machine_has_cost_until_its_last_signs(world: FleetWorld) -> None:
    near = partial(pytest.approx, abs=Decimal("0.01"))
    assert await spent_until(world, LastSigns()) == near(Decimal(1))
    assert await spent_until(world, LastSigns(unlisted_seconds=HOUR / 4)) == near(Decimal("0.75"))
    assert await spent_until(world, LastSigns(HOUR / 4), counted=True) == near(Decimal(1)), "it was counted before"
    assert await spent_until(world, LastSigns(0, HOUR / 10, HOUR / 2)) == near(Decimal("0.5")), "it never called"
    assert await spent_until(world, LastSigns(0, HOUR / 10, HOUR / 2), calls=True) == near(Decimal("0.1"))
    assert await spent_until(world, LastSigns(HOUR / 4, 2 * HOUR, 2 * HOUR), calls=True) == near(Decimal("0.75"))


async def an_order_that_was_not_taken_costs_nothing(world: FleetWorld) -> None:
    intent = await rent(world, Budget())
    assert isinstance(intent, Intent)
    await world.advance(HOUR)
    await world.fleet.slaying(intent.id, "provider-busy", MachineState.INTENDED)
    await world.fleet.gone(intent.id)
    spending = await world.fleet.spending_today("a")
    assert spending.pool_spent == spending.pool_bound == 0


async def what_an_order_without_an_answer_has_made_costs_from_its_intent(world: FleetWorld) -> None:
    intent = await rent(world, Budget())
    assert isinstance(intent, Intent)
    await world.fleet.slaying(intent.id, "mint-failed", MachineState.INTENDED)
    await world.advance(HOUR)
    assert await world.fleet.minted(intent.id, "shown in a list")
    row = await machine(world, intent.id)
    assert row is not None
    assert row.state is MachineState.SLAYING
    await world.advance(HOUR)
    assert await world.fleet.gone(intent.id)
    assert (await world.fleet.spending_today("a")).pool_spent == pytest.approx(Decimal("2.5"), abs=Decimal("0.01"))


async def what_is_paid_once_is_counted_once(world: FleetWorld) -> None:
    intent = await rented(world, terms=Terms(usd_once=Decimal("0.5")))
    await world.fleet.minted(intent.id, "the same again")
    assert (await world.fleet.spending_today("a")).pool_spent == Decimal("0.5")


async def a_new_price_holds_from_then_on(world: FleetWorld) -> None:
    intent = await rented(world, terms=Terms(usd_per_hour=Decimal(1)))
    await world.advance(HOUR)
    assert await world.fleet.reprice(intent.id, Decimal(3))
    assert not await world.fleet.reprice(intent.id, Decimal(3))
    await world.advance(HOUR)
    await world.fleet.accrue()
    assert (await world.fleet.spending_today("a")).pool_spent == pytest.approx(Decimal(4), abs=Decimal("0.01"))


async def a_budget_holds_for_callers_at_once(world: FleetWorld) -> None:
    answers = await asyncio.gather(*(rent(world, Budget(pool_usd=Decimal("3.2"))) for _ in range(9)))
    assert sum(isinstance(answer, Intent) for answer in answers) == 3
    assert {answer for answer in answers if not isinstance(answer, Intent)} == {NotIntended.BUDGET}


async def the_budget_of_all_pools_counts_all(world: FleetWorld) -> None:
    budget = Budget(all_usd=Decimal("2.2"))
    assert isinstance(await rent(world, budget, "a"), Intent)
    assert isinstance(await rent(world, budget, "b"), Intent)
    assert await rent(world, budget, "a") is NotIntended.BUDGET
    assert isinstance(await rent(world, Budget(pool_usd=Decimal("2.2")), "a"), Intent)


async def what_was_spent_is_not_there_any_more(world: FleetWorld) -> None:
    budget = Budget(pool_usd=Decimal("3.3"))
    intent = await rented(world)
    await world.fleet.slaying(intent.id, "idle", MachineState.BOOTING)
    await world.advance(2 * HOUR)
    await world.fleet.gone(intent.id)
    assert await rent(world, budget) is NotIntended.BUDGET
    assert isinstance(await rent(world, Budget(pool_usd=Decimal("3.6"))), Intent)


async def a_machine_that_leaves_is_bound_to_cost_less(world: FleetWorld) -> None:
    terms = Terms(usd_per_hour=Decimal(1), reserve_seconds=HOUR)
    intent = await rented(world, terms=terms)
    await world.call_home(intent)
    await world.fleet.drain(intent.id, "idle")
    await world.fleet.accrue()
    assert (await world.fleet.spending_today("a")).pool_bound == pytest.approx(Decimal(1), abs=Decimal("0.01"))
    await world.advance(HOUR / 2)
    await world.fleet.accrue()
    assert (await world.fleet.spending_today("a")).pool_bound == pytest.approx(Decimal("0.5"), abs=Decimal("0.01"))
    await world.advance(HOUR)
    await world.fleet.accrue()
    least = Decimal(SLAYING_SECONDS) / HOUR
    assert (await world.fleet.spending_today("a")).pool_bound == pytest.approx(least, abs=Decimal("0.01"))


async def a_machine_that_did_not_boot_is_avoided_for_a_while(world: FleetWorld) -> None:
    row = await machine(world, (await rented(world)).id)
    assert row is not None
    assert await world.fleet.avoided("market") == frozenset()
    await world.fleet.avoid(row, "boot-deadline", HOUR)
    await world.fleet.avoid(row, "exited", 2 * HOUR)
    await world.advance(HOUR + 60)
    assert await world.fleet.avoided("market") == {"m"}
    assert await world.fleet.avoided("another") == frozenset()
    await world.advance(HOUR)
    assert await world.fleet.avoided("market") == frozenset()


async def the_greatest_wish_counts_as_long_as_it_holds(world: FleetWorld) -> None:
    assert (await world.fleet.wished("a")).machines == 0
    await world.wake("a", 3, 60)
    await world.wake("a", 1, 600)
    assert (await world.fleet.wished("a")).machines == 3
    assert (await world.fleet.wished("b")).machines == 0
    await world.advance(60)
    assert (await world.fleet.wished("a")).machines == 1
    await world.advance(540)
    assert (await world.fleet.wished("a")).machines == 0


async def a_wish_is_extended_and_never_shortened(world: FleetWorld) -> None:
    woken = await world.wake("a", 2, 600)
    assert (woken.machines, woken.ready, woken.starting) == (2, 0, 0)
    assert woken.seconds == pytest.approx(600)
    await world.advance(300)
    assert (await world.wake("a", 2, 10)).seconds == pytest.approx(300)
    assert (await world.wake("a", 2, 600)).seconds == pytest.approx(600)
    await world.advance(599)
    assert (await world.fleet.wished("a")).machines == 2


async def a_wish_that_ended_can_be_had_again(world: FleetWorld) -> None:
    await world.wake("a", 2, 60)
    await world.advance(3_600)
    assert (await world.wake("a", 2, 60)).machines == 2
    assert (await world.fleet.wished("a")).machines == 2


async def wishes_of_callers_at_once_all_count(world: FleetWorld) -> None:
    await asyncio.gather(*(world.wake("a", 1 + n % 5, 60 + 60 * (n % 5)) for n in range(20)))
    assert (await world.fleet.wished("a")).machines == 5
    await world.advance(301)
    await asyncio.gather(*(world.wake("a", 1 + n % 3, 60) for n in range(20)))
    assert (await world.fleet.wished("a")).machines == 3


async def a_wish_shows_the_machines_that_are_there_or_coming(world: FleetWorld) -> None:
    await ready(world)
    await intend(world)
    woken = await world.wake("a", 2, 60)
    assert (woken.ready, woken.starting) == (1, 1)


async def the_ledgers_time_goes_on_with_its_clock(world: FleetWorld) -> None:
    before = (await world.fleet.wished("a")).now
    await world.advance(90)
    assert ((await world.fleet.wished("a")).now - before).total_seconds() == pytest.approx(90)


async def nothing_is_known_of_arrivals_at_first(world: FleetWorld) -> None:
    assert (await world.fleet.arrivals("a")).weeks == 0


Check = Callable[[FleetWorld], Awaitable[None]]

CHECKS: tuple[Check, ...] = (
    an_intent_is_known_before_it_is_minted,
    labels_and_tokens_are_unique_and_tokens_not_shown,
    labels_hold_the_installations_id,
    strangers_are_those_of_the_last_list_and_operators_choose_which_are_slain,
    the_limit_holds_for_callers_at_once,
    the_limit_counts_all_that_is_not_gone_of_all_providers,
    the_limit_is_the_pools_own,
    a_limit_of_0_mints_nothing,
    minted_makes_it_boot,
    a_machine_may_call_home_before_its_ref_is_known,
    what_is_gone_or_never_was_stays_so,
    draining_ends_leases_but_not_those_held,
    only_what_is_ready_drains,
    slaying_revokes_the_token_and_frees_the_leases,
    slaying_revokes_the_one_time_token,
    a_judgement_of_another_state_is_void,
    only_what_is_slain_is_gone,
    demand_is_counted_up_to_a_cap_for_each_pool,
    ages_are_the_databases,
    a_late_ref_does_not_restart_the_state,
    any_call_ends_silence_but_only_work_ends_idleness,
    reports_show_states_as_they_are_and_counts_that_only_grow,
    a_pool_that_is_no_longer_reported_counts_as_closed,
    what_a_machine_costs_is_known,
    cost_is_counted_from_the_intent_until_it_is_gone,
    what_is_not_counted_yet_is_bound,
    a_machine_has_cost_until_its_last_signs,
    an_order_that_was_not_taken_costs_nothing,
    what_an_order_without_an_answer_has_made_costs_from_its_intent,
    what_is_paid_once_is_counted_once,
    a_new_price_holds_from_then_on,
    a_budget_holds_for_callers_at_once,
    the_budget_of_all_pools_counts_all,
    what_was_spent_is_not_there_any_more,
    a_machine_that_leaves_is_bound_to_cost_less,
    a_machine_that_did_not_boot_is_avoided_for_a_while,
    the_greatest_wish_counts_as_long_as_it_holds,
    a_wish_is_extended_and_never_shortened,
    a_wish_that_ended_can_be_had_again,
    wishes_of_callers_at_once_all_count,
    a_wish_shows_the_machines_that_are_there_or_coming,
    the_ledgers_time_goes_on_with_its_clock,
    nothing_is_known_of_arrivals_at_first,
)

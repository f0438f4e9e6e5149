from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from webhook.fleet.ahead import AheadOfWork
from webhook.fleet.providers import Instance
from webhook.fleet.scaling import (
    EMPTY_SECONDS,
    STARTING,
    Action,
    Adopt,
    Drain,
    Listing,
    MarkGone,
    Money,
    Reprice,
    Slay,
    credible_listing,
    look_after,
    scale,
    with_silence_heard,
)
from webhook.ledger.machines import Cause, Demand, Machine, MachineState
from webhook.pool_settings import Pool

MANY = 1_000
SECONDS = st.sampled_from([0.0, 1.0, 20.0, 40.0, 90.0, 150.0, 400.0, 2_000.0])
LIVE = tuple(state for state in MachineState if state is not MachineState.GONE)

pools = st.builds(
    lambda minimum, more, slots: Pool(
        provider="p", minimum=minimum, limit=minimum + more, slots=slots, boot_seconds=300
    ),
    st.integers(0, 3),
    st.integers(0, 6),
    st.integers(1, 3),
)
demands = st.builds(Demand, st.integers(0, 30), st.integers(0, 30))


@st.composite
def machines_of(draw: st.DrawFn, id: int) -> Machine:
    state = draw(st.sampled_from(LIVE))
    state_seconds = draw(SECONDS)
    leased = draw(st.integers(0, 2)) if state in (MachineState.READY, MachineState.DRAINING) else 0
    return Machine(
        id=id,
        label=f"yurt-a-{id}",
        pool="a",
        provider="p",
        ref=draw(st.sampled_from([None, f"ref-{id}"])),
        state=state,
        age_seconds=state_seconds + draw(SECONDS),
        state_seconds=state_seconds,
        leased=leased,
        idle_seconds=0 if leased or state in STARTING else draw(SECONDS),
        silent_seconds=draw(SECONDS),
        reason="idle" if state is MachineState.SLAYING else None,
    )


@st.composite
def fleets(draw: st.DrawFn) -> list[Machine]:
    return [draw(machines_of(id)) for id in range(draw(st.integers(0, 10)))]


@st.composite
def listings(draw: st.DrawFn, machines: list[Machine]) -> Listing | None:
    if draw(st.integers(0, 4)) == 0:
        return None
    shown = [machine for machine in machines if draw(st.integers(0, 3))] if draw(st.integers(0, 4)) else []
    instances = {m.label: Instance(m.label, f"ref-{m.id}", draw(st.integers(0, 5)) > 0) for m in shown}
    return Listing(instances, draw(st.sampled_from([0.0, 2.0])), draw(st.sampled_from([0.0, 30.0])))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Pool, Demand, list[Machine], Listing | None]:
    machines = draw(fleets())
    return draw(pools), draw(demands), machines, draw(listings(machines))


Scene = tuple[Pool, Demand, list[Machine], Listing | None]


@dataclass(frozen=True)
class Mint:
    """So many machines are ordered, to have as many as are wanted."""

    count: int
    wanted: int


Done = Action | Drain | Mint


def decide(pool: Pool, demand: Demand, machines: list[Machine], listing: Listing | None, allowance: int) -> list[Done]:
    """A turn of the only provider and then one of the pool, as the autoscaler takes them."""
    actions = look_after(pool, machines, listing)
    dying = {action.machine.id for action in actions if isinstance(action, Slay)}
    after = [replace(m, state=MachineState.SLAYING, leased=0) if m.id in dying else m for m in machines]
    scaling = scale(pool, demand, after)
    count = 0 if credible_listing(pool, machines, listing) is None else min(scaling.mint, allowance)
    return [*actions, *scaling.drains, *([Mint(count, scaling.wanted)] if count else [])]


def minted(actions: list[Done]) -> int:
    return sum(action.count for action in actions if isinstance(action, Mint))


def drained(actions: list[Done]) -> list[Drain]:
    return [action for action in actions if isinstance(action, Drain)]


def slain(actions: list[Done]) -> list[Slay]:
    return [action for action in actions if isinstance(action, Slay)]


@given(scenes(), st.integers(0, 3))
def test_never_more_than_limit_or_allowance_whatever_state_machines_are_in(scene: Scene, allowance: int) -> None:
    pool, _, machines, _ = scene
    count = minted(decide(*scene, allowance=allowance))
    assert count <= allowance
    assert count == 0 or len(machines) + count <= pool.limit


@given(scenes())
def test_work_is_interrupted_only_where_it_is_lost_or_overdue(scene: Scene) -> None:
    pool, _, _, listing = scene
    for action in slain(decide(*scene, allowance=MANY)):
        machine = action.machine
        if machine.state is MachineState.READY or machine.leased:
            shown = listing.instances.get(machine.label) if listing else None
            lost = listing is not None and shown is None
            assert {
                "exited": shown is not None and not shown.running,
                "silent": machine.silent_seconds > pool.silent_seconds,
                "vanished": lost,
                "drain-deadline": machine.state is MachineState.DRAINING and machine.state_seconds > pool.drain_seconds,
            }[action.reason]


@given(scenes())
def test_a_machine_that_still_calls_outweighs_a_list_that_lags(scene: Scene) -> None:
    _, _, _, listing = scene
    assume(listing is not None and listing.lag_seconds > 0)
    assert listing is not None
    for action in slain(decide(*scene, allowance=MANY)):
        if action.reason == "vanished" and action.machine.state not in STARTING:
            assert action.machine.silent_seconds > listing.lag_seconds


@given(scenes())
def test_a_machine_that_is_starting_is_slain_only_for_a_failed_start(scene: Scene) -> None:
    pool, _, _, _ = scene
    for action in slain(decide(*scene, allowance=MANY)):
        machine = action.machine
        if machine.state in STARTING:
            assert action.reason in ("boot-deadline", "exited", "vanished", "never-minted")
            assert action.reason != "boot-deadline" or machine.age_seconds > pool.boot_seconds
            assert action.reason != "never-minted" or machine.state_seconds > pool.mint_seconds


@given(scenes())
def test_a_list_that_failed_or_cannot_be_true_mints_and_ends_nothing_but_still_slays(scene: Scene) -> None:
    pool, _, machines, listing = scene
    assume(credible_listing(pool, machines, listing) is None)
    actions = decide(*scene, allowance=MANY)
    assert not [action for action in actions if isinstance(action, Mint | MarkGone)]
    asked = {action.machine.id for action in slain(actions)}
    assert asked >= {machine.id for machine in machines if machine.state is MachineState.SLAYING}
    assert {a.reason for a in slain(actions)} <= {
        "idle",
        "boot-deadline",
        "silent",
        "drained",
        "drain-deadline",
    }


@given(scenes())
def test_gone_is_only_what_is_being_slain_and_no_longer_listed(scene: Scene) -> None:
    _, _, machines, listing = scene
    actions = decide(*scene, allowance=MANY)
    buried = {action.machine.id for action in actions if isinstance(action, MarkGone)}
    for machine in machines:
        if machine.id in buried:
            assert machine.state is MachineState.SLAYING
            assert listing is not None
            assert machine.label not in listing.instances
            assert machine.state_seconds > listing.lag_seconds
    again = {action.machine.id for action in slain(actions)}
    assert buried | again >= {machine.id for machine in machines if machine.state is MachineState.SLAYING}


@given(scenes())
def test_each_machine_meets_one_fate(scene: Scene) -> None:
    fates = [a.machine.id for a in decide(*scene, allowance=MANY) if isinstance(a, Drain | Slay | MarkGone)]
    assert len(fates) == len(set(fates))


@given(scenes())
def test_scaling_down_takes_the_idle_and_while_there_is_work_at_most_half(scene: Scene) -> None:
    pool, demand, machines, _ = scene
    ready = [machine for machine in machines if machine.state is MachineState.READY]
    drains = drained(decide(*scene, allowance=MANY))
    if demand != Demand(0, 0) or any(machine.state in STARTING for machine in machines):
        assert len(drains) <= max(1, len(ready) // 2)
    for drain in drains:
        assert drain.machine.state is MachineState.READY
        idle = drain.machine.leased == 0 and drain.machine.idle_seconds >= pool.idle_seconds
        assert idle if drain.reason == "idle" else len(machines) > pool.limit


@given(scenes())
def test_as_many_stay_as_are_wanted(scene: Scene) -> None:
    pool, demand, machines, _ = scene
    actions = decide(*scene, allowance=MANY)
    idle = [drain for drain in drained(actions) if drain.reason == "idle"]
    lost = {action.machine.id for action in slain(actions)}
    ready = [machine for machine in machines if machine.state is MachineState.READY and machine.id not in lost]
    assert not idle or len(ready) - len(idle) >= min(pool.limit, max(pool.minimum, -(-demand.pending // pool.slots)))


@given(scenes(), st.integers(1, 20))
def test_more_demand_never_mints_less_or_drains_more(scene: Scene, more: int) -> None:
    pool, demand, machines, listing = scene
    busier = replace(demand, pending=demand.pending + more)
    before, after = decide(*scene, allowance=MANY), decide(pool, busier, machines, listing, MANY)
    assert minted(after) >= minted(before)
    assert len(drained(after)) <= len(drained(before))
    assert slain(after) == slain(before)


def machine(state: MachineState, id: int = 1, provider: str = "p", usd: str = "0", **fields: float) -> Machine:
    return Machine(
        id=id,
        label=f"l{id}",
        pool="a",
        provider=provider,
        usd_per_hour=Decimal(usd),
        ref=f"r{id}",
        state=state,
        age_seconds=fields.get("age_seconds", 10.0),
        state_seconds=fields.get("state_seconds", 10.0),
        leased=int(fields.get("leased", 0)),
        idle_seconds=fields.get("idle_seconds", 0.0),
        silent_seconds=fields.get("silent_seconds", 1.0),
    )


def listing(*machines: Machine, lag_seconds: float = 0.0) -> Listing:
    return Listing({m.label: Instance(m.label, f"r{m.id}") for m in machines}, 0.0, lag_seconds)


def pool(**fields: int) -> Pool:
    return Pool.model_validate({"provider": "p", "slots": 1, "boot_seconds": 300, **fields})


def test_as_many_as_the_work_needs_are_minted() -> None:
    assert decide(pool(slots=4), Demand(9, 0), [], listing(), MANY) == [Mint(3, 3)]
    assert decide(pool(slots=4), Demand(0, 0), [], listing(), MANY) == []
    assert decide(pool(minimum=2), Demand(0, 0), [], listing(), MANY) == [Mint(2, 2)]
    assert decide(pool(), Demand(500, 0), [], listing(), MANY) == [Mint(20, 20)]


@pytest.mark.parametrize(("objects", "machines"), [(0, 0), (1, 1), (4, 1), (5, 3), (9, 4), (40, 15), (400, 20)])
def test_headroom_adds_a_share_of_the_machines_that_work_needs(objects: int, machines: int) -> None:
    with_headroom = Pool.model_validate({"provider": "p", "slots": 4, "headroom": 0.5})
    assert scale(with_headroom, Demand(objects, 0), []).mint == machines


def test_machines_that_are_starting_count_as_capacity() -> None:
    starting = [machine(MachineState.INTENDED, 1), machine(MachineState.BOOTING, 2)]
    assert decide(pool(), Demand(3, 0), starting, listing(*starting), MANY) == [Mint(1, 3)]


def test_machines_that_are_draining_do_not_and_need_none_for_their_own_leases() -> None:
    draining = machine(MachineState.DRAINING, leased=2)
    assert decide(pool(), Demand(0, 1), [draining], listing(draining), MANY) == []
    assert decide(pool(), Demand(1, 1), [draining], listing(draining), MANY) == [Mint(1, 1)]


def test_machines_that_are_being_slain_still_count_in_the_limit() -> None:
    dying = machine(MachineState.SLAYING)
    assert minted(decide(pool(limit=1), Demand(5, 0), [dying], listing(dying), MANY)) == 0


def test_the_longest_idle_goes_first() -> None:
    ready = [machine(MachineState.READY, id, idle_seconds=300.0 + id) for id in range(4)]
    drains = drained(decide(pool(), Demand(1, 0), ready, listing(*ready), MANY))
    assert [drain.machine.id for drain in drains] == [3, 2]


@pytest.mark.parametrize(
    ("demand", "busy", "gone"),
    [
        (Demand(0, 0), [], [3, 2, 1, 0]),
        (Demand(1, 0), [], [3, 2]),
        (Demand(0, 1), [machine(MachineState.READY, 9, leased=1)], [3, 2]),
        (Demand(0, 1), [machine(MachineState.DRAINING, 9, leased=1)], [3, 2]),
        (Demand(0, 0), [machine(MachineState.BOOTING, 9)], [3, 2]),
        (Demand(0, 0), [machine(MachineState.READY, 9)], [3, 2, 1, 0]),
    ],
    ids=["no work", "pending", "leased", "finishing", "booting", "not idle for long"],
)
def test_all_that_are_idle_go_at_once_only_where_there_is_no_work(
    demand: Demand, busy: list[Machine], gone: list[int]
) -> None:
    ready = [*(machine(MachineState.READY, id, idle_seconds=300.0 + id) for id in range(4)), *busy]
    drains = drained(decide(pool(), demand, ready, listing(*ready), MANY))
    assert [drain.machine.id for drain in drains] == gone


def test_what_a_minimum_wants_stays_where_there_is_no_work() -> None:
    ready = [machine(MachineState.READY, id, idle_seconds=300.0 + id) for id in range(4)]
    drains = drained(decide(pool(minimum=1), Demand(0, 0), ready, listing(*ready), MANY))
    assert [drain.machine.id for drain in drains] == [3, 2, 1]


def test_a_lower_limit_drains_the_idle_first_and_then_the_busy() -> None:
    ready = [
        machine(MachineState.READY, 1, leased=1),
        machine(MachineState.READY, 2),
        machine(MachineState.READY, 3, leased=1),
    ]
    drains = drained(decide(pool(limit=1), Demand(0, 2), ready, listing(*ready), MANY))
    assert [(drain.machine.id, drain.reason) for drain in drains] == [(2, "limit")]


def test_a_drained_machine_is_slain_and_one_with_leases_waits() -> None:
    busy, done = machine(MachineState.DRAINING, 1, leased=1), machine(MachineState.DRAINING, 2)
    actions = decide(pool(), Demand(0, 1), [busy, done], listing(busy, done), MANY)
    assert actions == [Slay(done, "drained", Instance("l2", "r2"))]


def test_what_the_provider_shows_without_a_known_ref_is_adopted() -> None:
    lost = replace(machine(MachineState.INTENDED), ref=None)
    actions = decide(pool(), Demand(1, 0), [lost], listing(lost), MANY)
    assert actions == [Adopt(lost, Instance("l1", "r1"))]


def test_a_list_need_not_show_what_came_after_it() -> None:
    asked = Listing({}, age_seconds=2.0, lag_seconds=5.0)
    assert not asked.covers(machine(MachineState.BOOTING, state_seconds=7))
    assert asked.covers(machine(MachineState.BOOTING, state_seconds=7.1))
    dying = machine(MachineState.SLAYING, state_seconds=7)
    assert decide(pool(), Demand(0, 0), [dying], asked, MANY) == [Slay(dying, "slaying", Instance("l1", "r1"))]


def test_a_machine_that_calls_is_there_although_the_list_lacks_it() -> None:
    calls, silent = machine(MachineState.READY, 1, silent_seconds=5), machine(MachineState.READY, 2, silent_seconds=6)
    shown = listing(machine(MachineState.READY, 3), lag_seconds=5.0)
    actions = decide(pool(), Demand(2, 0), [calls, silent], shown, MANY)
    assert [(action.machine.id, action.reason) for action in slain(actions)] == [(2, "vanished")]


def test_an_empty_list_is_believed_once_all_are_silent() -> None:
    lives, silent = machine(MachineState.READY, state_seconds=100), machine(MachineState.READY, silent_seconds=121)
    empty = listing(lag_seconds=5.0)
    assert credible_listing(pool(), [lives, silent], empty) is None
    assert credible_listing(pool(), [silent], empty) is empty
    assert credible_listing(pool(), [machine(MachineState.SLAYING)], empty) is empty
    assert credible_listing(pool(), [], empty) is empty


def test_an_empty_list_that_may_lag_ends_nothing_before_it_has_been_empty_for_a_while() -> None:
    dying = machine(MachineState.SLAYING, state_seconds=100)
    asked = Listing({}, 0.0, lag_seconds=5.0, empty_seconds=EMPTY_SECONDS - 1)
    assert not any(isinstance(action, MarkGone) for action in look_after(pool(), [dying], asked))
    assert look_after(pool(), [dying], replace(asked, empty_seconds=EMPTY_SECONDS)) == [MarkGone(dying)]


def test_an_empty_list_that_is_the_truth_is_believed_at_once() -> None:
    killed = machine(MachineState.READY)
    assert [action.reason for action in slain(decide(pool(), Demand(0, 0), [killed], listing(), MANY))] == ["vanished"]


def test_silence_is_counted_only_while_somebody_listens() -> None:
    ready, booting = machine(MachineState.READY, silent_seconds=900), machine(MachineState.BOOTING, age_seconds=900)
    settings = pool(boot_seconds=300, orphan_seconds=900)
    assert with_silence_heard(settings, ready, 5).silent_seconds == 5
    assert with_silence_heard(settings, ready, 5).age_seconds == ready.age_seconds
    assert with_silence_heard(settings, booting, 5).age_seconds == 5
    assert with_silence_heard(settings, ready, 5_000) == ready


def test_a_machine_that_must_have_ended_itself_is_slain_however_often_the_control_plane_restarts() -> None:
    settings = pool(boot_seconds=300, orphan_seconds=700)
    for age_seconds, slain in ((1_000, False), (1_001, True)):
        heard = with_silence_heard(settings, machine(MachineState.BOOTING, age_seconds=age_seconds), 5)
        actions = look_after(settings, [heard], Listing({"l1": Instance("l1", "r1")}, 0.0, 0.0))
        assert [action.reason for action in actions if isinstance(action, Slay)] == ["boot-deadline"] * slain
    for state in (MachineState.READY, MachineState.DRAINING):
        for silent_seconds, slain in ((820, False), (821, True)):
            silent = machine(state, silent_seconds=silent_seconds, leased=1)
            heard = with_silence_heard(settings, silent, 5)
            actions = look_after(settings, [heard], Listing({"l1": Instance("l1", "r1")}, 0.0, 0.0))
            assert [action.reason for action in actions if isinstance(action, Slay)] == ["silent"] * slain


def test_machines_of_a_provider_that_the_pool_has_left_are_drained_and_replaced() -> None:
    moved, stays = machine(MachineState.READY, 1, "old", leased=1), machine(MachineState.READY, 2, leased=1)
    scaling = scale(pool(), Demand(0, 2), [moved, stays])
    assert list(scaling.drains) == [Drain(moved, "moved")]
    assert scaling.mint == 1


def test_a_machine_that_became_dearer_than_one_may_be_is_drained_and_replaced() -> None:
    settings = pool(max_usd_per_hour=Decimal("0.6"))  # type: ignore[arg-type]
    dear, cheap = (
        machine(MachineState.READY, 1, usd="0.61", leased=1),
        machine(MachineState.READY, 2, usd="0.6", leased=1),
    )
    scaling = scale(settings, Demand(0, 2), [dear, cheap])
    assert (scaling.drains, scaling.mint) == ([Drain(dear, "price")], 1)


def test_a_machine_that_turns_out_too_dear_while_it_boots_is_slain() -> None:
    settings = pool(max_usd_per_hour=Decimal("0.6"))  # type: ignore[arg-type]
    booting = machine(MachineState.BOOTING, usd="0.61")
    assert [
        action.reason for action in look_after(settings, [booting], listing(booting)) if isinstance(action, Slay)
    ] == ["price"]


def test_the_dearest_goes_before_the_longest_idle() -> None:
    cheap = machine(MachineState.READY, 1, usd="0.1", idle_seconds=900)
    dear = machine(MachineState.READY, 2, usd="0.2", idle_seconds=400)
    [drain] = scale(pool(), Demand(1, 0), [cheap, dear]).drains
    assert drain.machine is dear


def test_a_price_that_the_provider_changed_is_noted() -> None:
    one = machine(MachineState.READY, usd="0.1")
    shown = Listing({"l1": Instance("l1", "r1", usd_per_hour=Decimal("0.3"))}, 0.0, 0.0)
    assert look_after(pool(), [one], shown) == [Reprice(one, Decimal("0.3"))]
    assert look_after(pool(), [replace(one, usd_per_hour=Decimal("0.3"))], shown) == []


BUSY = machine(MachineState.READY, 1, usd="3.6", leased=1)
IDLE = machine(MachineState.READY, 2, usd="3.6")
"""Each costs a tenth of a cent a second."""


def test_while_there_is_money_machines_are_minted() -> None:
    scaling = scale(pool(), Demand(9, 0), [BUSY, IDLE], Money(Decimal("0.25")))
    assert (scaling.mint, list(scaling.drains), scaling.at_budget) == (7, [], False)


def test_at_the_edge_of_the_budget_nothing_is_minted_and_what_is_idle_leaves() -> None:
    scaling = scale(pool(), Demand(9, 0), [BUSY, IDLE], Money(Decimal("0.23")))
    assert (scaling.mint, list(scaling.drains), scaling.at_budget) == (0, [Drain(IDLE, "budget")], True)


def test_before_the_budget_is_spent_all_machines_are_drained() -> None:
    scaling = scale(pool(), Demand(9, 0), [BUSY, IDLE], Money(Decimal("0.05")))
    assert scaling.mint == 0
    assert list(scaling.drains) == [Drain(IDLE, "budget"), Drain(BUSY, "budget")]


def test_a_minimum_costs_no_more_than_the_budget() -> None:
    scaling = scale(pool(minimum=2), Demand(0, 0), [], Money(Decimal(-1)))
    assert scaling.mint == 0
    assert scaling.at_budget


def test_machines_that_cost_nothing_need_no_money() -> None:
    free = machine(MachineState.READY, leased=1)
    scaling = scale(pool(), Demand(1, 1), [free], Money(Decimal(0)))
    assert (scaling.mint, list(scaling.drains)) == (1, [])


def causes(settings: Pool, demand: Demand, machines: list[Machine], ahead: AheadOfWork) -> list[Cause]:
    return [*scale(settings, demand, machines, ahead=ahead).causes]


def test_a_pool_gets_the_most_that_any_reason_wants_and_says_which() -> None:
    ahead = AheadOfWork(schedule=3, wake=5, learned=1)
    assert causes(pool(minimum=2, limit=9, slots=1), Demand(1, 0), [], ahead) == [
        Cause.DEMAND, Cause.MINIMUM, Cause.SCHEDULE, Cause.WAKE, Cause.WAKE,
    ]  # fmt: skip
    assert causes(pool(limit=9), Demand(0, 0), [], AheadOfWork(learned=1)) == [Cause.LEARNED]


def test_what_is_there_is_not_minted_again_for_another_reason() -> None:
    ready, booting = machine(MachineState.READY, 1, leased=1), machine(MachineState.BOOTING, 2)
    assert causes(pool(slots=1), Demand(0, 1), [ready, booting], AheadOfWork(wake=2)) == []
    assert causes(pool(slots=1), Demand(0, 1), [ready, booting], AheadOfWork(wake=3)) == [Cause.WAKE]


def test_no_reason_exceeds_the_limit() -> None:
    everything = AheadOfWork(schedule=50, wake=1_000, learned=1)
    scaling = scale(pool(limit=3), Demand(0, 0), [machine(MachineState.SLAYING)], ahead=everything)
    assert (scaling.mint, scaling.wanted) == (2, 3)
    assert causes(pool(limit=0), Demand(9, 0), [], everything) == []


def test_no_reason_exceeds_the_budget() -> None:
    scaling = scale(pool(), Demand(0, 0), [IDLE], Money(Decimal("0.1")), AheadOfWork(wake=3))
    assert (scaling.mint, list(scaling.drains), scaling.at_budget) == (0, [Drain(IDLE, "budget")], True)


def test_idle_machines_stay_as_long_as_a_reason_wants_them() -> None:
    idle = [machine(MachineState.READY, number, idle_seconds=9_000) for number in range(2)]
    assert not scale(pool(), Demand(0, 0), idle, ahead=AheadOfWork(wake=2)).drains
    assert len(scale(pool(), Demand(0, 0), idle, ahead=AheadOfWork(wake=1)).drains) == 1
    assert len(scale(pool(), Demand(0, 0), idle).drains) == 2

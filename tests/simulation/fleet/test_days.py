"""Simulated days violate no invariant, each is a function of its seed, and each removed guard is noticed."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from itertools import chain

import pytest

from tests.simulation.fleet.__main__ import COSTS_OFF, MUTANT_DAYS
from tests.simulation.fleet.day import LOADS, SimulatedDay, run
from tests.simulation.fleet.mutants import FLEET_FOUND, FLEET_MUTANTS, first_found
from tests.simulation.loop import VirtualLoop

DAYS = 100
_CHUNK = 5


@pytest.mark.parametrize("first", range(0, DAYS, _CHUNK))
def test_a_day_violates_no_invariant(first: int) -> None:
    for seed in range(first, first + _CHUNK):
        failure = run(seed).failure
        assert failure is None, f"{failure}: python -m tests.simulation.fleet --day {seed}"


def test_a_day_is_a_function_of_its_seed() -> None:
    first, second = run(3, 6.0), run(3, 6.0)
    assert first.counts == second.counts
    assert first.draws.fired == second.draws.fired


def test_the_days_have_every_kind_of_trouble() -> None:
    with closing(VirtualLoop()) as loop:
        days = [SimulatedDay(seed, loop) for seed in range(60)]
        assert {day.load for day in days} == set(LOADS)
        assert {day.began for day in days} == {0.0, 15 * 3_600.0}
    troubles = ("crashes", "two leaders", "intents", "machines", "objects", "killed", "hanging", "slain themselves")
    of_services = ("requests served", "requests lost", "requests refused")
    counts: Counter[str] = sum((run(seed, 4.0).counts for seed in range(13)), Counter())
    assert all(counts[name] for name in (*troubles, *of_services))


def test_costs_are_those_of_the_providers_books() -> None:
    """Of days on which the control plane is always there: what ends meanwhile, no ledger can know."""
    counts: Counter[str] = sum((run(seed, 12.0).counts for seed in (0, 7, 10, 12)), Counter())
    assert abs(counts["cents in the ledger"] / counts["cents in the books"] - 1) <= COSTS_OFF


def test_every_fleet_mutant_has_a_day() -> None:
    assert set(FLEET_FOUND) == set(FLEET_MUTANTS)


@pytest.mark.parametrize("name", FLEET_MUTANTS)
def test_a_fleet_mutant_is_found(name: str) -> None:
    known = FLEET_FOUND[name]
    found = first_found(name, list(chain([known], (seed for seed in range(MUTANT_DAYS) if seed != known))))
    assert found is not None, f"no invariant finds {name}: {FLEET_MUTANTS[name].effect}"

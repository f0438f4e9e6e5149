"""Negative models: each guard that is taken out is missed within 500 seeds."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.simulation.mutants import FOUND, MUTANTS, search

BOUND = 500


def test_every_guard_has_a_seed() -> None:
    assert set(FOUND) == set(MUTANTS)
    assert all(0 <= seed < BOUND for seed in FOUND.values())


@pytest.mark.parametrize("name", MUTANTS)
def test_a_guard_that_is_taken_out_is_missed(name: str) -> None:
    known = FOUND[name]
    result = search(name, list(chain([known], (seed for seed in range(BOUND) if seed != known))))
    assert result is not None, f"nobody misses {name}: {MUTANTS[name].effect}"
    assert result.violation is not None
    # A crash of the simulation is no finding.
    assert result.violation.invariant not in ("no process ends by a fault", "it comes to rest"), str(result.violation)

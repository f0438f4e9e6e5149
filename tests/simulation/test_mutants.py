"""Negative models: each guard that is taken out is missed within 500 seeds."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.simulation.mutants import MUTANTS, search

BOUND = 500

FOUND = {
    "token": 0,
    "condition": 25,
    "event-time": 0,
    "etag-alone": 0,
    "mark-before-work": 0,
    "before-commit": 0,
    "first-404": 40,
    "trust-listing": 26,
    "recheck": 31,
    "older": 149,
    "rerun-requested": 0,
    "interval": 14,
    "manifests": 25,
    "expiry": 21,
    "publish-started": 40,
    "deadline": 25,
}
"""Where each was found: tried first. The worlds may change, so all others are tried, too."""


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

"""Each mutant violates an invariant within 500 seeds."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.simulation.mutants import FOUND, MUTANTS, search

BOUND = 500


def test_every_mutant_has_a_seed() -> None:
    assert set(FOUND) == set(MUTANTS)
    assert all(0 <= seed < BOUND for seed in FOUND.values())


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found(name: str) -> None:
    known = FOUND[name]
    result = search(name, list(chain([known], (seed for seed in range(BOUND) if seed != known))))
    assert result is not None, f"no invariant finds {name}: {MUTANTS[name].effect}"
    assert result.violation is not None
    # A crash or a hang of the simulation does not show which guard is missing.
    assert result.violation.invariant not in ("no process ends by a fault", "it comes to rest"), str(result.violation)

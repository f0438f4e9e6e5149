"""``python -m tests.simulation.fleet``: run many simulated days, or one.

    python -m tests.simulation.fleet --days 10000
    python -m tests.simulation.fleet --day 17
    python -m tests.simulation.fleet --mutants

The exit code is 0 if no invariant was violated and all costs together are those of the providers' books, and with
``--mutants`` if each mutant was found.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.fleet.day import run
from tests.simulation.fleet.mutants import FLEET_MUTANTS, first_found

COSTS_OFF = 0.01
"""By how much all costs together may differ from the providers' books."""
MUTANT_DAYS = 200
"""Days within which each mutant has to be found."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.fleet", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--day", type=int, help="one day")
    parser.add_argument("--days", type=int, default=100, help="number of days")
    parser.add_argument("--first", type=int, default=0, help="the first of --days")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; else one for each processor")
    parser.add_argument("--mutants", action="store_true", help="search a violation by each mutant")
    options = parser.parse_args(arguments)
    if options.mutants:
        return _search()
    first, days = (options.first, options.days) if options.day is None else (options.day, 1)
    return _soak(range(first, first + days), options.jobs)


def _soak(seeds: range, jobs: int) -> int:
    began, counts, violations = time.monotonic(), Counter[str](), []
    with ProcessPoolExecutor(jobs, initializer=_collect_seldom) as pool:
        for done, (seed, counted, violation) in enumerate(pool.map(_one, seeds), 1):
            counts.update(counted)
            violations += [f"day {seed}: {violation}"] if violation else []
            if done % 10 == 0:
                print(f"\r{done} of {len(seeds)} days, {len(violations)} violations", end=" ", flush=True)
    print(f"\n{len(seeds)} days in {time.monotonic() - began:.0f} s: {dict(counts)}, {len(violations)} violations")
    print("\n".join(violations))
    ratio = counts["cents in the ledger"] / max(1, counts["cents in the books"])
    print(f"costs in the ledger ÷ the providers' books: {ratio:.4f}")
    return 1 if violations or abs(ratio - 1) > COSTS_OFF else 0


def _collect_seldom() -> None:
    """Leave modules out of garbage collection, and have it seldom: a tenth of a day's time else."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _one(seed: int) -> tuple[int, Counter[str], str]:
    day = run(seed)
    return seed, day.counts, str(day.failure or "")


def _search() -> int:
    missed = 0
    for name, mutant in FLEET_MUTANTS.items():
        found = first_found(name, range(MUTANT_DAYS))
        missed += found is None
        print(f"{name:16} day {found.seed:3}: {found.failure}" if found else f"{name:16} not found: {mutant.effect}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

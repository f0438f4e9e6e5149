"""``python -m tests.simulation``: replay one history, or run many.

    python -m tests.simulation --seed 90 --without publish-started
    python -m tests.simulation --seeds 20000
    python -m tests.simulation --seeds 20000 --postgres 200
    python -m tests.simulation --mutants

The exit code is 0 if no invariant was violated; with ``--without`` it is 0 if one was.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.postgres import server
from tests.simulation import report
from tests.simulation.database import Model
from tests.simulation.history import HistoryChoice, HistoryResult, run
from tests.simulation.mirror import ConformancePostgres, Mirror, own_database
from tests.simulation.mutants import MUTANTS, run_without

_CHUNK = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.mutants:
        return _search(options.seeds or 500)
    if options.seed is not None:
        return _replay(options.seed, options.without, options.whole)
    seeds = range(options.first, options.first + (options.seeds or 1000))
    if options.postgres:
        return _compare_with_postgres(seeds[:: max(1, len(seeds) // options.postgres)])
    return _soak(seeds, options.jobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, help="one history: its violation with the smallest trace, or its counts")
    parser.add_argument("--whole", action="store_true", help="with --seed: the whole trace, nothing left out")
    parser.add_argument("--without", choices=sorted(MUTANTS), help="with --seed: run this mutant")
    parser.add_argument("--seeds", type=int, help="number of histories")
    parser.add_argument("--first", type=int, default=0, help="the first of --seeds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; else one for each processor")
    parser.add_argument("--postgres", type=int, help="number of --seeds to run with PostgreSQL beside the model")
    parser.add_argument("--mutants", action="store_true", help="search a violation by each mutant")
    return parser


def command(seed: int, without: str | None = None) -> str:
    """The command line that replays a history."""
    return f"python -m tests.simulation --seed {seed}" + (f" --without {without}" if without else "")


def _replay(seed: int, without: str | None, whole: bool) -> int:
    play = partial(run_without, without) if without else run
    choice = HistoryChoice(seed)
    result = play(choice)
    if whole:
        traced = play(HistoryChoice(seed, tracing=True))
        print("\n".join(f"{at:10.3f} s  {line}" for at, line in traced.trace))
    if result.violation is None:
        print(report.summary(result.counts, 1, 0, 1.0))
        return 1 if without else 0
    if whole:
        print(f"            {result.violation}")
    else:
        print(report.failure(choice, result, command(seed, without), play))
    return 0 if without else 1


def _soak(seeds: range, jobs: int) -> int:
    began = time.perf_counter()
    totals: Counter[str] = Counter()
    histories = 0
    failed: list[HistoryResult] = []
    for results, counts in _results(seeds, jobs):
        totals.update(counts)
        failed += results
        histories = min(histories + _CHUNK, len(seeds))
        seconds = time.perf_counter() - began
        print(
            f"\r{histories:,} of {len(seeds):,} histories, {histories / seconds:.1f} a second, "
            f"{totals['kills']:,} kills, {totals['store faults']:,} store faults, {len(failed)} violations ",
            end="", file=sys.stderr, flush=True,
        )  # fmt: skip
        for result in results:
            print("\n" + report.failure(HistoryChoice(result.seed), result, command(result.seed)), flush=True)
    print(file=sys.stderr)
    print(report.summary(totals, len(seeds), len(failed), time.perf_counter() - began))
    return 1 if failed else 0


def _compare_with_postgres(seeds: Sequence[int]) -> int:
    """Run histories with every statement on the model and on PostgreSQL."""
    statements = 0
    with (
        tempfile.TemporaryDirectory(prefix="yurt-simulation-") as folder,
        server(Path(folder)) as dsn,
        own_database(dsn) as postgres,
    ):
        for number, seed in enumerate(seeds, 1):
            mirrors: list[Mirror] = []
            result = run(HistoryChoice(seed, mirrored=partial(_make_mirror, postgres, mirrors)))
            statements += mirrors[0].statements
            print(f"\r{number} of {len(seeds)} histories on PostgreSQL ", end="", file=sys.stderr, flush=True)
            if result.violation is not None:
                print(f"\nseed {seed}: {result.violation}")
                return 1
    print(f"\n{len(seeds)} histories, {statements:,} statements: model and PostgreSQL agree in every answer and row")
    return 0


def _make_mirror(postgres: ConformancePostgres, made: list[Mirror], model: Model) -> Mirror:
    made.append(Mirror(model, postgres))
    return made[-1]


def _results(seeds: range, jobs: int) -> Iterable[tuple[list[HistoryResult], Counter[str]]]:
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    if jobs == 1:
        yield from map(_chunk, chunks)
        return
    with ProcessPoolExecutor(jobs) as executor:
        yield from executor.map(_chunk, chunks)


def _chunk(seeds: Sequence[int]) -> tuple[list[HistoryResult], Counter[str]]:
    failed: list[HistoryResult] = []
    totals: Counter[str] = Counter()
    for seed in seeds:
        result = run(HistoryChoice(seed))
        totals.update(result.counts)
        if result.violation is not None:
            failed.append(result)
    return failed, totals


def _search(most: int) -> int:
    missed = 0
    for name, mutant in MUTANTS.items():
        found = next((r for seed in range(most) if (r := run_without(name, HistoryChoice(seed))).violation), None)
        if found is None:
            missed += 1
            print(f"{name:18} NOT FOUND within {most} seeds: {mutant.effect}")
        else:
            print(f"{name:18} seed {found.seed:>4}: {found.violation}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

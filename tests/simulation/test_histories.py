"""Histories of many seeds violate no invariant, and each is a pure function of its seed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation import report
from tests.simulation.__main__ import command, main
from tests.simulation.history import HistoryChoice, HistoryResult, run
from tests.simulation.mutants import run_without

HISTORIES = 200
_CHUNK = 10


@pytest.mark.parametrize("first", range(0, HISTORIES, _CHUNK))
def test_no_invariant_is_violated(first: int) -> None:
    for seed in range(first, first + _CHUNK):
        result = run(HistoryChoice(seed))
        assert result.violation is None, "\n" + report.failure(HistoryChoice(seed), result, command(seed))


def test_a_history_is_a_pure_function_of_its_seed() -> None:
    first, second = run(HistoryChoice(7, tracing=True)), run(HistoryChoice(7, tracing=True))
    assert first.trace == second.trace
    assert first.counts == second.counts
    assert len(first.trace) > 10


def test_tracing_changes_nothing() -> None:
    traced, silent = run(HistoryChoice(11, tracing=True)), run(HistoryChoice(11))
    assert (traced.counts, traced.fired) == (silent.counts, silent.fired)
    assert silent.trace == ()


def test_the_worlds_have_every_kind_of_trouble() -> None:
    totals: Counter[str] = Counter()
    for seed in range(60):
        totals.update(run(HistoryChoice(seed)).counts)
    missing = [name for name in report.SUMMED if not totals[name]]
    assert not missing, f"never happened: {missing}"


def test_a_failing_history_is_made_small_and_can_be_replayed() -> None:
    failed = _failing("condition")
    choice = HistoryChoice(failed.seed)
    text = report.failure(choice, failed, command(failed.seed, "condition"), lambda c: run_without("condition", c))
    assert failed.violation is not None
    assert failed.violation.invariant in text.splitlines()[0]
    assert f"replay: python -m tests.simulation --seed {failed.seed} --without condition" in text
    lines = [line for line in text.splitlines() if " s  " in line]
    assert 0 < len(lines) < len(run_without("condition", HistoryChoice(failed.seed, tracing=True)).trace)


def test_the_command_replays_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    failed = _failing("event-time")
    assert main(["--seed", str(failed.seed), "--without", "event-time"]) == 0
    assert "no event is refused unread" in capsys.readouterr().out
    assert main(["--seed", "3"]) == 0
    assert "0 violations" in capsys.readouterr().out


def _failing(mutant: str) -> HistoryResult:
    results = (run_without(mutant, HistoryChoice(seed)) for seed in range(500))
    return next(result for result in results if result.violation is not None)

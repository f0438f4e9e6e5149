"""Shrinks a failing history: leaves out operations and faults while it still violates the same invariant.

This is delta debugging (Zeller and Hildebrandt, 2002). Decisions are drawn independently of each other, so that leaving
one out does not change the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.simulation.history import HistoryChoice, HistoryResult

T = TypeVar("T")

MOST_RUNS = 600
"""Limit of histories to try."""


class Shrinker:
    """Searches a smaller history with the same violation."""

    def __init__(
        self, play: Callable[[HistoryChoice], HistoryResult], choice: HistoryChoice, failed: HistoryResult
    ) -> None:
        assert failed.violation is not None
        self._play = play
        self._invariant = failed.violation.invariant
        self.choice = choice
        self.result = failed
        self.runs = 0

    def shrink(self) -> HistoryChoice:
        """The smallest failing choice found."""
        operations = list(range(self.result.settings.operations))
        before = None
        # Fewer operations may make faults superfluous and the reverse, so both are reduced until neither gets smaller.
        while before != (self.choice, self.runs >= MOST_RUNS):
            before = (self.choice, self.runs >= MOST_RUNS)
            kept = [number for number in operations if number not in self.choice.operations]
            self._reduce(kept, lambda out: replace(self.choice, operations=frozenset({*self.choice.operations, *out})))
            fired = list(self.result.fired)
            self._reduce(fired, lambda out: replace(self.choice, faults=frozenset({*self.choice.faults, *out})))
        return self.choice

    def _reduce(self, items: Sequence[T], without: Callable[[Sequence[T]], HistoryChoice]) -> None:
        """Try to leave out halves, then quarters, and so on."""
        size = len(items)
        while size >= 1 and self.runs < MOST_RUNS:
            at = 0
            while at < len(items) and self.runs < MOST_RUNS:
                part = items[at : at + size]
                if self._fails(without(part)):
                    items = [*items[:at], *items[at + size :]]
                else:
                    at += size
            size = size // 2 if size > 1 else 0

    def _fails(self, choice: HistoryChoice) -> bool:
        self.runs += 1
        result = self._play(choice)
        if result.violation is None or result.violation.invariant != self._invariant:
            return False
        self.choice, self.result = choice, result
        return True

"""Every decision of a history, drawn from its seed.

Each decision belongs to a named stream and has a number in it, and its value depends on nothing but seed, stream and
number: leaving one decision out does not shift the others, so that a failing history can be made smaller.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """Decisions of one history. ``left_out`` names faults that do not happen."""

    def __init__(self, seed: int, left_out: Collection[str] = ()) -> None:
        self._key = seed.to_bytes(8, "big")
        self._left_out = frozenset(left_out)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self.fired: list[str] = []
        """Faults that happened, each under the name by which it can be left out."""
        self.faults_over = False
        """No fault happens any more."""

    def unit(self, stream: str) -> float:
        """From [0, 1)."""
        number = self._numbers[stream]
        self._numbers[stream] = number + 1
        digest = blake2b(b"%b/%d" % (stream.encode(), number), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "big") / 2**64

    def between(self, stream: str, low: float, high: float) -> float:
        """Evenly from [low, high)."""
        return low + (high - low) * self.unit(stream)

    def below(self, stream: str, limit: int) -> int:
        """One of 0 … limit − 1."""
        return int(self.unit(stream) * limit)

    def choice(self, stream: str, items: Sequence[T]) -> T:
        """One of them."""
        return items[self.below(stream, len(items))]

    def chance(self, stream: str, probability: float) -> bool:
        """Whether it happens: no fault, and so never left out."""
        return self.unit(stream) < probability

    def fault(self, stream: str, probability: float) -> bool:
        """Whether a fault happens."""
        if self.faults_over or probability <= 0:
            return False
        name = f"{stream}#{self._numbers[stream]}"
        if self.unit(stream) >= probability or name in self._left_out:
            return False
        self.fired.append(name)
        return True

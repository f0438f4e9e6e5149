"""Random decisions of a history, each a function of the seed, the name of its stream and its number in the stream.

Leaving one decision out therefore does not shift the others, and a failing history can be shrunk. Renaming a stream
changes every history that draws from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """Random decisions of one history. ``left_out`` names faults that do not happen."""

    def __init__(self, seed: int, left_out: Collection[str] = ()) -> None:
        self._key = seed.to_bytes(8, "big")
        self._left_out = frozenset(left_out)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self.fired: list[str] = []
        """Names of the faults that happened, by which they can be left out."""
        self.faults_over = False
        """Set when no further fault may happen."""

    def unit(self, stream: str) -> float:
        """A number from [0, 1)."""
        number = self._numbers[stream]
        self._numbers[stream] = number + 1
        # A keyed hash, not random.Random: the value of one decision must not depend on how many came before it.
        digest = blake2b(b"%b/%d" % (stream.encode(), number), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "big") / 2**64

    def between(self, stream: str, low: float, high: float) -> float:
        """A number from [low, high), uniformly distributed."""
        return low + (high - low) * self.unit(stream)

    def below(self, stream: str, limit: int) -> int:
        """An integer from 0 to limit − 1."""
        return int(self.unit(stream) * limit)

    def choice(self, stream: str, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(stream, len(items))]

    def chance(self, stream: str, probability: float) -> bool:
        """Whether something happens that is no fault, and so is never left out."""
        return self.unit(stream) < probability

    def fault(self, stream: str, probability: float) -> bool:
        """Whether a fault happens."""
        # Returns before it draws: a fault that cannot happen takes no number, so that its stream stays as it is.
        if self.faults_over or probability <= 0:
            return False
        number = self._numbers[stream]
        if self.unit(stream) >= probability or (name := f"{stream}#{number}") in self._left_out:
            return False
        self.fired.append(name)
        return True

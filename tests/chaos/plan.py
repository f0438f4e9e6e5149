"""What will be written and what will be done to the processes, and when: all of it from one seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.chaos.content import UploadContent
from tests.chaos.history import Kind

REGIONS = {"near": 0.7, "far": 1.5}
"""Seconds after which the hub hears of a write that was made in one of these."""

LAGGING = "uploads/lagging/"
"""Of the keys that are read from a replica that is behind."""

_FLAVOURS = ("plain", "with space", "plus+sign", "ünïcödé", "per%20cent", "semi;colon&amp", "deep/er/still")
"""Parts of keys that are often decoded once too often, or not often enough."""
_KINDS: Mapping[Kind, int] = {"overwrite": 70, "same": 10, "back": 14, "delete": 8}
_BURST_SHARE = 0.25
"""Of writes that follow the one before at once."""
_BURST_SECONDS = 0.05
_OBJECT_SHARE = 0.2
"""Keys for so many uploads."""
_SLOW_SHARE = 0.1
"""Of contents that keep the handler busy."""
_LEAST_OBJECTS = 10

Deed = Literal[
    "kill-replica",
    "kill-agent",
    "kill-handler",
    "kill-postgres",
    "stop-replica",
    "stop-agent",
    "cut-control",
    "cut-store",
    "cut-database",
    "store-503",
    "store-hangs",
    "store-forgets",
    "store-stale",
    "store-late",
]
DEEDS: Mapping[Deed, int] = {
    "kill-replica": 6,
    "kill-agent": 14,
    "kill-handler": 8,
    "kill-postgres": 3,
    "stop-replica": 3,
    "stop-agent": 8,
    "cut-control": 14,
    "cut-store": 14,
    "cut-database": 6,
    "store-503": 8,
    "store-hangs": 5,
    "store-forgets": 6,
    "store-stale": 5,
    "store-late": 4,
}
"""How often each, beside the others."""


@dataclass(frozen=True, slots=True)
class Step:
    """One write."""

    at: float
    """Seconds after the start."""
    key: str
    kind: Kind
    content: UploadContent | None
    region: str


@dataclass(frozen=True, slots=True)
class Blow:
    """One deed of the monkey."""

    at: float
    """Seconds after the start."""
    deed: Deed
    seed: int
    """Decides whom it hits, and how."""


class Author:
    """Makes up contents of one key after the other, so that each knows what was before."""

    def __init__(self, key: str, random: Random, slowest_seconds: float) -> None:
        self.key = key
        self._random = random
        self._slowest_seconds = slowest_seconds
        self._written: list[UploadContent | None] = []
        self._made = 0

    @property
    def live(self) -> bool:
        """Whether the object is there."""
        return bool(self._written and self._written[-1])

    def write(self) -> tuple[Kind, UploadContent | None]:
        """The next write."""
        kind = self._kind()
        content = self._content(kind)
        self._written.append(content)
        return kind, content

    def fresh(self) -> UploadContent:
        """A content that never was."""
        self._made += 1
        slow = self._random.random() < _SLOW_SHARE
        seconds = self._random.uniform(0.2, self._slowest_seconds) if slow else self._random.uniform(0, 0.02)
        return UploadContent(self.key, self._made, round(seconds, 3), self._random.randrange(4096))

    def _kind(self) -> Kind:
        if not self._written:
            return "new"
        if not self.live:
            return "again"
        [kind] = self._random.choices(list(_KINDS), list(_KINDS.values()))
        return kind if kind != "back" or self._before() else "overwrite"

    def _content(self, kind: Kind) -> UploadContent | None:
        match kind:
            case "delete":
                return None
            case "same":
                return self._written[-1]
            case "back":
                return self._before()
            case "again":
                # Half of what comes back is what was there before.
                return self._before() if self._random.random() < 0.5 else self.fresh()
            case _:
                return self.fresh()

    def _before(self) -> UploadContent | None:
        now = self._written[-1]
        return next((content for content in reversed(self._written) if content not in (None, now)), None) or (
            None if now else self.fresh()
        )


def steps(seed: int, uploads: int, seconds: float, slowest_seconds: float) -> list[Step]:
    """Every write, in order: so many uploads, and the deletes among them."""
    random = Random(f"{seed}/steps")
    keys = [_key(number) for number in range(max(_LEAST_OBJECTS, round(uploads * _OBJECT_SHARE)))]
    authors = {key: Author(key, Random(f"{seed}/{key}"), slowest_seconds) for key in keys}
    # Some keys are written far more often than others.
    weights = [1 / (1 + number % 20) for number in range(len(keys))]
    moments = sorted(random.uniform(0, seconds) for _ in range(uploads * 2))
    found, made, key = list[Step](), 0, keys[0]
    unborn = list(reversed(keys))
    while made < uploads:
        burst = bool(found) and random.random() < _BURST_SHARE
        if not burst:
            key = unborn.pop() if unborn and random.random() < 0.3 else random.choices(keys, weights)[0]
        kind, content = authors[key].write()
        now = found[-1].at if found else 0.0
        at = now + random.uniform(0, _BURST_SECONDS) if burst else max(now, moments[min(made * 2, len(moments) - 1)])
        region = random.choices(["", *REGIONS], [75, 15, 10])[0]
        found.append(Step(at, key, kind, content, region))
        made += content is not None
    return found


def blows(seed: int, faults: int, seconds: float) -> list[Blow]:
    """Every deed, in order: each kind at least once."""
    random = Random(f"{seed}/blows")
    deeds: list[Deed] = list(DEEDS)
    deeds += random.choices(list(DEEDS), list(DEEDS.values()), k=max(0, faults - len(deeds)))
    random.shuffle(deeds)
    moments = sorted(random.uniform(0, seconds) for _ in deeds)
    return [Blow(at, deed, random.randrange(1 << 30)) for at, deed in zip(moments, deeds, strict=True)]


def lagging(planned: list[Blow]) -> list[str]:
    """Keys of their own for reads from a replica that is behind, one a deed.

    Last-Modified has whole seconds. Of two contents of one second a store that may be behind lets nobody tell the older
    one, so these keys are overwritten once, seconds after their first upload.
    """
    count = Counter(blow.deed for blow in planned)["store-stale"]
    return [f"{LAGGING}{number:04d}.bin" for number in range(count)]


def _key(number: int) -> str:
    return f"uploads/{_FLAVOURS[number % len(_FLAVOURS)]}/{number:05d}.bin"

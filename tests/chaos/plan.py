"""Plan of a chaos run, from one seed: writes and faults, each with its time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.chaos.content import UploadContent
from tests.chaos.history import Kind

REGIONS = {"near": 0.7, "far": 1.5}
"""Regions, and the seconds after which the hub learns of a write in them."""

LAGGING = "uploads/lagging/"
"""Prefix of the keys that are read from a replica that is behind."""

_KEY_PARTS = ("plain", "with space", "plus+sign", "ünïcödé", "per%20cent", "semi;colon&amp", "deep/er/still")
"""Parts of keys that software often decodes once too often, or not often enough."""
_KINDS: Mapping[Kind, int] = {"overwrite": 70, "same": 10, "back": 14, "delete": 8}
_BURST_SHARE = 0.25
"""Share of writes that follow the previous one at once."""
_BURST_SECONDS = 0.05
_OBJECT_SHARE = 0.2
"""Keys per upload."""
_SLOW_SHARE = 0.1
"""Share of contents that take the handler long."""
_LEAST_OBJECTS = 10

FaultKind = Literal[
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
    "kill-app",
    "app-fails",
]
FAULT_WEIGHTS: Mapping[FaultKind, int] = {
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
    "kill-app": 4,
    "app-fails": 3,
}
"""Relative frequency of each kind."""


@dataclass(frozen=True, slots=True)
class Step:
    """One planned write."""

    at: float
    """Seconds after the start."""
    key: str
    kind: Kind
    content: UploadContent | None
    region: str


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One planned fault."""

    at: float
    """Seconds after the start."""
    kind: FaultKind
    seed: int
    """Seed of the choice of target and parameters."""


class ContentSequence:
    """Generates the writes of one key in order; each kind refers to the contents before it."""

    def __init__(self, key: str, random: Random, slowest_seconds: float) -> None:
        self.key = key
        self._random = random
        self._slowest_seconds = slowest_seconds
        self._written: list[UploadContent | None] = []
        self._made = 0

    @property
    def live(self) -> bool:
        """Whether the object exists after the last write."""
        return bool(self._written and self._written[-1])

    def write(self) -> tuple[Kind, UploadContent | None]:
        """The next write."""
        kind = self._kind()
        content = self._content(kind)
        self._written.append(content)
        return kind, content

    def fresh(self) -> UploadContent:
        """A content that this key never had."""
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
                # Half of the writes after a delete restore the content before it.
                return self._before() if self._random.random() < 0.5 else self.fresh()
            case _:
                return self.fresh()

    def _before(self) -> UploadContent | None:
        now = self._written[-1]
        return next((content for content in reversed(self._written) if content not in (None, now)), None) or (
            None if now else self.fresh()
        )


def steps(seed: int, uploads: int, seconds: float, slowest_seconds: float) -> list[Step]:
    """All writes in order of time: the given number of uploads, and deletes among them."""
    random = Random(f"{seed}/steps")
    keys = [_key(number) for number in range(max(_LEAST_OBJECTS, round(uploads * _OBJECT_SHARE)))]
    sequences = {key: ContentSequence(key, Random(f"{seed}/{key}"), slowest_seconds) for key in keys}
    # Some keys are written far more often than others.
    weights = [1 / (1 + number % 20) for number in range(len(keys))]
    moments = sorted(random.uniform(0, seconds) for _ in range(uploads * 2))
    planned, made, key = list[Step](), 0, keys[0]
    unwritten = list(reversed(keys))
    while made < uploads:
        burst = bool(planned) and random.random() < _BURST_SHARE
        if not burst:
            key = unwritten.pop() if unwritten and random.random() < 0.3 else random.choices(keys, weights)[0]
        kind, content = sequences[key].write()
        now = planned[-1].at if planned else 0.0
        at = now + random.uniform(0, _BURST_SECONDS) if burst else max(now, moments[min(made * 2, len(moments) - 1)])
        region = random.choices(["", *REGIONS], [75, 15, 10])[0]
        planned.append(Step(at, key, kind, content, region))
        made += content is not None
    return planned


def faults(seed: int, count: int, seconds: float) -> list[PlannedFault]:
    """All faults in order of time, each kind at least once."""
    random = Random(f"{seed}/blows")
    kinds: list[FaultKind] = list(FAULT_WEIGHTS)
    kinds += random.choices(list(FAULT_WEIGHTS), list(FAULT_WEIGHTS.values()), k=max(0, count - len(kinds)))
    random.shuffle(kinds)
    moments = sorted(random.uniform(0, seconds) for _ in kinds)
    return [PlannedFault(at, kind, random.randrange(1 << 30)) for at, kind in zip(moments, kinds, strict=True)]


def lagging(planned: list[PlannedFault]) -> list[str]:
    """Keys for reads from a replica that is behind, one for each such fault.

    Last-Modified has whole seconds, so the order of two contents of one second is unknown. These keys are therefore
    overwritten once, seconds after their first upload.
    """
    number = Counter(fault.kind for fault in planned)["store-stale"]
    return [f"{LAGGING}{number:04d}.bin" for number in range(number)]


def _key(number: int) -> str:
    return f"uploads/{_KEY_PARTS[number % len(_KEY_PARTS)]}/{number:05d}.bin"

"""Two simulated buckets: an eventually consistent one for inputs in several regions, and a consistent one for results.

Of two writes of one key the store keeps the one with the later Last-Modified at full resolution, ties by region; HTTP
shows whole seconds. A region's replica gets a write of another region at most ``lag_seconds`` after it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from tests.simulation.world import World

INPUT = "photos-in"
OUTPUT = "photos-out"


@dataclass(frozen=True, slots=True, eq=False)
class InputWrite:
    """One change of one key in the input bucket."""

    key: str
    number: int
    region: int
    at: float
    """Last-Modified, at full resolution."""
    content: str | None
    """Name of its bytes, and its ETag; None for a delete. Equal bytes have equal ETags."""
    visible: tuple[float, ...]
    """Time at which each region's replica gets it."""
    name: str
    """Name of the event that announces it."""

    @property
    def order(self) -> tuple[float, int]:
        """Sorts the writes of one key as the store orders them."""
        return self.at, self.region


class Input:
    """The input bucket, which applications write to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.writes: defaultdict[str, list[InputWrite]] = defaultdict(list)
        self.listeners: list[Callable[[InputWrite], None]] = []
        """Called with each write."""
        self._count = 0

    def write(self, key: str, region: int, content: str | None, name: str) -> InputWrite:
        """Put an object, or delete it with content None."""
        world, now = self._world, self._world.now
        lag = world.settings.lag_seconds
        visible = tuple(
            now if other == region else now + lag * world.draws.unit(f"lag/{other}")
            for other in range(world.settings.regions)
        )
        self._count += 1
        write = InputWrite(key, self._count, region, now, content, visible, name)
        self.writes[key].append(write)
        for listener in self.listeners:
            listener(write)
        return write

    def seen(self, region: int, key: str) -> InputWrite | None:
        """The write that a region's replica has, deletes included; None before its first."""
        now = self._world.now
        known = [write for write in self.writes.get(key, ()) if write.visible[region] <= now]
        return max(known, key=lambda write: write.order, default=None)

    def truth(self, key: str) -> InputWrite | None:
        """The newest write of a key in any region."""
        return max(self.writes.get(key, ()), key=lambda write: write.order, default=None)

    def content(self, key: str) -> str | None:
        """The newest content of an object; None where it is deleted."""
        newest = self.truth(key)
        return newest.content if newest else None

    def listed(self, region: int) -> Iterator[InputWrite]:
        """Objects that a region's replica lists, in the order of keys."""
        for key in sorted(self.writes, key=str.encode):
            write = self.seen(region, key)
            if write is not None and write.content is not None:
                yield write


@dataclass(frozen=True, slots=True, eq=False)
class Provenance:
    """The input write that a result was made from, which no ETag tells."""

    key: str
    """Key of the input."""
    content: str
    fetched: InputWrite
    """The write that the worker's fetch returned."""
    fetched_at: float


@dataclass(frozen=True, slots=True, eq=False)
class StoredResult:
    """One object in the result bucket."""

    key: str
    etag: str
    at: float
    headers: dict[str, str]
    body: bytes
    made: Provenance | None

    @property
    def token(self) -> int:
        """Fencing token of the lease that wrote it."""
        return int(self.headers.get("x-amz-meta-yurt-token", 0))


@dataclass
class ResultBucket:
    """The result bucket. A write and its condition are atomic."""

    world: World
    objects: dict[str, StoredResult] = field(default_factory=dict)
    replaced: list[tuple[StoredResult | None, StoredResult | None]] = field(default_factory=list)
    """Old and new object of each write or delete since the invariants were last checked."""

    def put(self, key: str, body: bytes, headers: dict[str, str], made: Provenance | None) -> StoredResult | None:
        """Write an object. Returns None where the condition does not hold (412)."""
        known = self.objects.get(key)
        if not _holds(known, headers):
            return None
        stored = StoredResult(key, etag_of(body), self.world.now, headers, body, made)
        self.objects[key] = stored
        self.replaced.append((known, stored))
        return stored

    def delete(self, key: str, etag: str | None) -> bool:
        """Delete an object. Returns False where the condition does not hold (412)."""
        known = self.objects.get(key)
        if known is None:
            return True
        if etag is not None and known.etag != etag:
            return False
        del self.objects[key]
        self.replaced.append((known, None))
        return True


def _holds(known: StoredResult | None, headers: dict[str, str]) -> bool:
    """Evaluate If-Match and If-None-Match (RFC 9110, section 13.1)."""
    wanted = headers.get("if-match")
    if wanted is not None and (known is None or wanted.strip('"') != known.etag):
        return False
    return not (headers.get("if-none-match") == "*" and known is not None)


def etag_of(body: bytes) -> str:
    """ETag, a function of the bytes alone as in S3."""
    return blake2b(body, digest_size=6).hexdigest()

"""Invariants of Yurt, checked after every step of a history and once no work is left.

The checks use facts that no part of the simulated world can see: the store's true order of writes, and the write that
each result was made from.
"""

from __future__ import annotations

import json
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.bounds import WorkerBounds
from tests.simulation.bucket import Input, InputWrite, Provenance, ResultBucket, StoredResult
from tests.simulation.hub import ANSWER_SECONDS, Announcement, SimulatedHub
from tests.simulation.losses import WorkerLosses
from tests.simulation.plane import PIPELINE, SimulatedPlane
from tests.simulation.process import SimulatedProcess
from tests.simulation.rows import EPOCH, Object, SimulatedRow
from tests.simulation.statements import Tables
from tests.simulation.world import BrokenInvariant, World
from webhook.ledger.ledger import ReceivedEvents
from workers.protocol import MANIFEST

request_events: ContextVar[list[Announcement] | None] = ContextVar("request_events", default=None)

ADDS_UP = "it adds up"
NOTHING_LOST = "nothing accepted is lost"
NOTHING_STALE = "nothing stale wins"
ONE_SETTLE = "one settle"
ONE_LEASE = "one live lease an object"
NOT_CHARGED = "a handler that cannot run charges no object"
NO_WORK_TWICE = "same content, no work"
HINTS = "no event is refused unread without proof of its age"
ACKNOWLEDGED = "what is answered 2xx is committed"
ANSWERED_IN_TIME = "a notification is answered within ten seconds"
DELETES = "deletes are checked"
MANIFESTS = "what a visible manifest names is there"
GOES_ON = "others' work goes on beside a hostile worker"
REPLACED = "what a worker published is replaced once it is found out"
SWEPT = "a finished sweep has missed nothing"


def names_of(content: str) -> tuple[str, ...]:
    """Names of the outputs that the handler makes of a content."""
    return ("large.webp", "small.webp") if content != "C" else ("small.webp",)


@dataclass
class _Flush:
    events: list[Announcement]
    repeated: int
    """Events in it that were recorded before, or come twice in it."""


@dataclass
class Invariants:
    """Observes statements, requests and buckets, and raises BrokenInvariant."""

    world: World
    tables: Tables
    input: Input
    output: ResultBucket
    hub: SimulatedHub
    live: dict[int, int] = field(default_factory=dict)
    """Token of the live lease of each object."""
    last_token: dict[int, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    """Attempts of each leased object, the live lease counted."""
    without_handler: set[int] = field(default_factory=set)
    """Tokens of leases whose handlers could not run."""
    partly_removed: set[int] = field(default_factory=set)
    """Tokens of manifests whose outputs were removed in part, as they should be."""
    touched: set[str] = field(default_factory=set)
    """Inputs of which a hostile worker has written outputs or settled leases, until it is found out."""
    late_changed: set[str] = field(default_factory=set)
    """Inputs with outputs that a given-up request has changed. They have to be right at the end only."""
    requests: dict[int, _Flush] = field(default_factory=dict)
    """Requests by the identity of their intake."""
    _named: dict[int, tuple[int, int]] = field(default_factory=dict)
    _recorded: bool = False
    _dirty: bool = False
    losses: WorkerLosses = field(default_factory=WorkerLosses)
    _swept: float | None = None
    """Start of the sweep that has just finished."""

    def __post_init__(self) -> None:
        self.bounds = WorkerBounds(self.world, self.tables)

    def hostile_writes(self, worker_id: int, key: str) -> None:
        """Observe that a hostile worker writes an output of an input, or settles it.

        From now on the result may be wrong, until the worker is found out. Raises BrokenInvariant.
        """
        self.bounds.writes(worker_id, key)
        self.touched.add(key)

    def found_out(self) -> None:
        """Observe that the hostile worker is revoked and all that it reported is processed again."""
        self.touched.clear()

    def forget(self) -> None:
        """Forget all leases: the ledger was emptied."""
        self.bounds.forget()
        self.live.clear()
        self.last_token.clear()

    # ── the ledger ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_sweep_advance(self, _arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        if rows and rows[0]["state"] == "done":
            self._swept = (rows[0]["started_at"] - EPOCH).total_seconds()

    def statement(self, name: str, arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        """Observe a statement and its rows."""
        self._dirty = True
        self.bounds.statement(name, arguments, rows)
        watch = getattr(self, f"_on_{name}", None)
        if watch is not None:
            watch(arguments, rows)

    def _on_record(self, _arguments: tuple[Any, ...], _rows: list[SimulatedRow]) -> None:
        self._recorded = True

    def _on_claim(self, _arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        for row in rows:
            id, token = row["id"], row["token"]
            if id in self.live:
                raise BrokenInvariant(
                    ONE_LEASE, f"{row['key']} is leased under token {token} and under {self.live[id]}"
                )
            if token <= self.last_token.get(id, 0):
                raise BrokenInvariant(
                    ONE_LEASE, f"the token of {row['key']} went from {self.last_token[id]} to {token}"
                )
            self.live[id] = self.last_token[id] = token
            self.attempts[id] = row["attempts"]

    def _on_lock_leased(self, arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        ids, tokens, _ = arguments
        self._named = {}
        self.losses.taking_back(())
        for row in rows:
            position = row["position"] - 1
            self._named.setdefault(row["id"], (ids[position], tokens[position]))

    def _on_lock_expired(self, _arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        self._named = {row["id"]: (row["id"], self.live.get(row["id"], 0)) for row in rows}
        self.losses.taking_back(rows)

    _on_lock_of_worker = _on_lock_expired

    def _on_active(self, arguments: tuple[Any, ...], _rows: list[SimulatedRow]) -> None:
        worker_id, tokens, alone, *_ = arguments
        self.losses.reports(worker_id, tokens, alone=alone)

    _on_report_handling = _on_active

    def _on_settle(self, arguments: tuple[Any, ...], _rows: list[SimulatedRow]) -> None:
        for settled in json.loads(arguments[5]):
            id, token = self._named[settled["id"]]
            if self.live.get(id) != token:
                key = self.tables.by_id[id].key
                raise BrokenInvariant(
                    ONE_SETTLE,
                    f"a settle of {key} under token {token} was accepted, though "
                    + (f"token {self.live[id]} is the live one" if id in self.live else "that lease was over"),
                )
            del self.live[id]
            # An error means that the answer was lost, and the lease with it: that is not the handler's report.
            if token in self.without_handler and "error" not in settled and settled["attempts"] >= self.attempts[id]:
                raise BrokenInvariant(
                    NOT_CHARGED, f"{self.tables.by_id[id].key} has {settled['attempts']} attempts after token {token}"
                )
            self.world.counts["charged"] += self.losses.settled(settled, self.tables.by_id[id].key, token)
        self.losses.taking_back(())

    def unavailable(self, token: int) -> None:
        """Observe that a lease's handler cannot run on its worker."""
        self.without_handler.add(token)

    def _on_extend(self, arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        if rows and self.live.get(arguments[0]) != arguments[1]:
            raise BrokenInvariant(ONE_LEASE, f"a lease that was over was extended: token {arguments[1]}")

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def parsed(self, intake: ReceivedEvents) -> None:
        """Observe an intake, made from the request of the running task."""
        if (events := request_events.get()) is not None:
            self.requests[id(intake)] = _Flush(events, 0)

    def committed(self, plane: SimulatedPlane) -> None:
        """Observe a commit of a replica's receiver or lease API."""
        if not self._recorded:
            return
        self._recorded = False
        seen: Counter[int] = Counter()
        flushes = [flush for intake in plane.flushing if (flush := self.requests.get(id(intake)))]
        for flush in flushes:
            for event in flush.events:
                seen[event.number] += 1
                flush.repeated += event.recorded or seen[event.number] > 1
        for flush in flushes:
            for event in flush.events:
                event.recorded = True

    async def received(
        self, plane: SimulatedPlane, batch: list[Announcement], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request to a replica and check its response. Returns the response."""
        request_events.set(batch)
        came_at = self.world.now
        answer = await plane.notify(body)
        self._check_in_time(plane, came_at)
        if answer[0] == 200:
            self._judge(plane, batch, json.loads(answer[2]))
        return answer

    def _check_in_time(self, plane: SimulatedPlane, came_at: float) -> None:
        """A store takes a notification for lost after ten seconds. A process that is stopped cannot answer."""
        took_seconds = self.world.now - came_at
        if took_seconds > ANSWER_SECONDS and plane.process.frozen_until <= came_at:
            detail = f"{plane.process.name} answered after {took_seconds:.1f} s"
            self.world.fail(BrokenInvariant(ANSWERED_IN_TIME, detail))

    def _judge(self, plane: SimulatedPlane, batch: list[Announcement], receipt: dict[str, int]) -> None:
        world = self.world
        for event in batch:
            if not event.recorded:
                world.fail(
                    BrokenInvariant(ACKNOWLEDGED, f"{event} was answered 200 by {plane.process.name}, unrecorded")
                )
        for verdict, number in receipt.items():
            world.counts[verdict] += number
        older = sum(event.write is not self.input.truth(event.write.key) for event in batch)
        if receipt["stale"] > older:
            detail = "; ".join(map(str, batch))
            world.fail(BrokenInvariant(HINTS, f"refused as stale, though the newest write of its key: {detail}"))
        repeated = max((flush.repeated for flush in self.requests.values() if flush.events is batch), default=0)
        if receipt["duplicate"] > repeated:
            detail = "; ".join(map(str, batch))
            world.fail(BrokenInvariant(HINTS, f"refused as a duplicate, though it was never received before: {detail}"))

    def handled(self, process: SimulatedProcess, key: str, content: str, token: int) -> None:
        """Observe the start of a handler."""
        self.losses.works(process, token)
        self.world.counts["handler runs"] += 1
        row = self.tables.objects.get((PIPELINE, key))
        if row is not None and row.done_etag == content and row.token == token and not row.publish_started:
            detail = f"{key} is handled though its result is of the same content {content}"
            self.world.fail(BrokenInvariant(NO_WORK_TWICE, detail))

    # ── after every step ─────────────────────────────────────────────────────────────────────────────────────────────

    def check(self) -> None:
        """Check all invariants that hold after every step."""
        if self._dirty:
            self._dirty = False
            if (balance := self.tables.balance()) != (0, 0):
                raise BrokenInvariant(ADDS_UP, f"{balance[0]} events and {balance[1]} changes are unaccounted for")
        if self._swept is not None:
            began_at, self._swept = self._swept, None
            self.swept(began_at)
        if self.output.replaced:
            changes, self.output.replaced[:] = list(self.output.replaced), []
            for old, new in changes:
                self._replaced(old, new)
            self._manifests()

    def _replaced(self, old: StoredResult | None, new: StoredResult | None) -> None:
        thing = new or old
        assert thing is not None
        if self.world.tracing:
            of = f"of {thing.made.content}, token {thing.token}" if thing.made else ""
            self.world.note(f"store: {thing.key} {of} is {'written' if new else 'deleted'}")
        if self.world.given_up and _conditional(old, new):
            # An ETag names bytes. Where the same bytes came back, a condition holds for a request from long ago, too:
            # only a full sweep can find and repair its effect.
            self.world.counts["late effects"] += 1
            self.late_changed.update(item.made.key for item in (old, new) if item and item.made)
            return
        if thing.key.rpartition("/")[0] in self.touched:
            return
        if new is None and old is not None and old.made is not None:
            self._deleted(old, old.made)
        if old is not None and old.made and new is not None and new.made and self._older(new.made, old.made):
            raise BrokenInvariant(
                NOTHING_STALE,
                f"{new.key}: the result of {_of(old.made)} was replaced by one of {_of(new.made)}",
            )

    def _older(self, new: Provenance, old: Provenance) -> bool:
        """Whether a result was made from older content than the one it replaces. Equal bytes are equally old."""
        if new.content == old.content:
            return False
        known = [write for write in self.input.writes[new.key] if write.at <= new.fetched_at]
        newest = max((write.order for write in known if write.content == new.content), default=new.fetched.order)
        return newest < old.fetched.order

    def _deleted(self, old: StoredResult, made: Provenance) -> None:
        """Check a deletion: the input is deleted, or a newer result does not have this output."""
        ends = [write.order for write in self.input.writes[made.key] if write.content is None]
        there = self.input.content(made.key) is not None and made.fetched.order > max(ends, default=(-1.0, 0))
        if there and not self._superseded(old, made):
            raise BrokenInvariant(DELETES, f"{old.key} of {_of(made)} was removed though {made.key} is there")
        if not there:
            self.partly_removed.update(
                item.token for item in self.output.objects.values() if item.made and item.made.key == made.key
            )

    def _superseded(self, old: StoredResult, made: Provenance) -> bool:
        """Whether a newer result exists that does not have this output."""
        manifest = self.output.objects.get(f"{made.key}/{MANIFEST}")
        name = old.key.rpartition("/")[2]
        return manifest is not None and manifest.token > old.token and name not in _named_in(manifest)

    def _manifests(self) -> None:
        for stored in list(self.output.objects.values()):
            if not stored.key.endswith(f"/{MANIFEST}") or stored.token in self.partly_removed:
                continue
            if stored.key.rpartition("/")[0] in self.touched | self.late_changed:
                continue
            for name, etag in _named_in(stored).items():
                where = stored.key.removesuffix(MANIFEST) + name
                found = self.output.objects.get(where)
                if found is None or (found.etag != etag and found.token <= stored.token):
                    there = "is not there" if found is None else f"is of token {found.token}"
                    raise BrokenInvariant(
                        MANIFESTS, f"{stored.key} of token {stored.token} names {name}, which {there}"
                    )

    # ── sweeps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def swept(self, began_at: float) -> None:
        """Check that a finished sweep knows all objects that existed when it began."""
        for key, writes in self.input.writes.items():
            if key in self.touched:
                continue
            newest = max(writes, key=lambda write: write.order)
            if newest.content is None or newest.at > began_at - self.world.settings.lag_seconds:
                continue
            row = self.tables.objects.get((PIPELINE, key))
            if row is None or not _knows(row, newest):
                raise BrokenInvariant(SWEPT, f"{key}, {newest.content} since {newest.at:.3f} s, is not known after it")

    # ── at rest ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def at_rest(self) -> None:
        """Check ledger and results once no work is left."""
        for key in self.input.writes:
            content = self.input.content(key)
            row = self.tables.objects.get((PIPELINE, key))
            if row is None:
                if content is not None:
                    raise BrokenInvariant(NOTHING_LOST, f"{key} is {content}, but has no row")
            elif content is None:
                self._must_be_gone(key, row)
            else:
                self._must_be_done(key, row, content)

    def _must_be_gone(self, key: str, row: Object) -> None:
        if row.state != "gone":
            raise BrokenInvariant(NOTHING_LOST, f"{key} is deleted, but {row.state} in the ledger")
        left = [stored.key for stored in self.output.objects.values() if stored.key.startswith(f"{key}/")]
        if self.world.settings.on_delete == "remove" and left:
            raise BrokenInvariant(DELETES, f"{key} is deleted, but its outputs are there: {', '.join(left)}")

    def _must_be_done(self, key: str, row: Object, content: str) -> None:
        if (row.state, row.done_etag) != ("done", content):
            raise BrokenInvariant(
                NOTHING_LOST, f"{key} is {content}, but the ledger has it {row.state} of {row.done_etag}"
            )
        for name in (*names_of(content), MANIFEST):
            stored = self.output.objects.get(f"{key}/{name}")
            if stored is not None and stored.made is None:
                raise BrokenInvariant(REPLACED, f"{key} is done, but {name} is still of token {stored.token}")
            if stored is None or stored.made is None:
                raise BrokenInvariant(NOTHING_LOST, f"{key} is {content}, but {name} is not there")
            if stored.made.content != content:
                raise BrokenInvariant(
                    NOTHING_STALE, f"{key} is {content}, but {name} is of {stored.made.content} at last"
                )
        manifest = self.output.objects[f"{key}/{MANIFEST}"]
        for name, etag in _named_in(manifest).items():
            if self.output.objects[f"{key}/{name}"].etag != etag:
                raise BrokenInvariant(MANIFESTS, f"{key}: the manifest names another {name} than there is, at last")


def _conditional(old: StoredResult | None, new: StoredResult | None) -> bool:
    """Whether a change was made under a condition."""
    if new is None:
        return True
    return "if-none-match" in new.headers if old is None else "if-match" in new.headers


def _knows(row: Object, write: InputWrite) -> bool:
    """Whether the row has the result of this write, or has work or an error."""
    return row.state in ("pending", "leased", "parked") or (row.state == "done" and row.done_etag == write.content)


def _named_in(stored: StoredResult) -> dict[str, str]:
    return {output["name"]: output["etag"] for output in json.loads(stored.body)["outputs"]}


def _of(made: Provenance) -> str:
    return f"{made.content} (written at {made.fetched.at:.3f} s, fetched at {made.fetched_at:.3f} s)"

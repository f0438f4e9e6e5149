"""The model of the ledger's statements agrees with PostgreSQL in all answers and rows."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.simulation.database import Model, Statements, run_at_once
from tests.simulation.history import HistoryChoice, run
from tests.simulation.mirror import ConformancePostgres, Mirror, own_database
from tests.simulation.rows import EPOCH
from tests.simulation.statements import Tables
from webhook.events import ContentVersion, EventKind, EventOrder, ListedObject, ObjectEvent, mark_of
from webhook.ledger.database import Database
from webhook.ledger.distrust import Distrust
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import ClaimedObject, Ledger, ReceivedEvents, Settlement
from webhook.ledger.parked import ParkedObjects, ParkedQuery
from webhook.ledger.policy import Policy
from webhook.ledger.sweeps import AdoptedResult, PageResult, SweepCounts, SweepOrder, Sweeps
from webhook.ledger.transitions import (
    Failure,
    Lane,
    LeaseReleased,
    NotFound,
    Outcome,
    Present,
    Published,
    Restoring,
    SameContent,
)

T = TypeVar("T")

PIPELINE = 1
WORKERS = 3
LIAR = 3
POLICY = Policy(
    attempts=2,
    store_attempts=3,
    absent_checks=2,
    backoff_seconds=3,
    backoff_limit_seconds=20,
    replica_lag_seconds=10,
    lease_limit_seconds=40,
    second_opinion=True,
)
KEYS = st.sampled_from(["a.jpg", "ä ö.jpg", "z/b.jpg"])
ETAGS = st.sampled_from(["A", "B", None])
MOMENTS = st.one_of(st.none(), st.integers(0, 6).map(lambda halves: EPOCH + timedelta(seconds=halves / 2)))
NUMBERS = st.integers(0, 3).map(lambda number: number.to_bytes(2, "big"))


@st.composite
def orders(draw: st.DrawFn) -> EventOrder | None:
    """Exact orders and intervals of two schemes, or none."""
    if draw(st.booleans()):
        return None
    key = draw(NUMBERS)
    latest = max(key, draw(NUMBERS)) if draw(st.booleans()) else None
    return EventOrder(draw(st.sampled_from(["x", "y"])), key, latest)


EVENTS = st.builds(
    lambda key, kind, etag, modified, order, mark: ObjectEvent(
        "tigris", "photos-in", key, kind, ContentVersion(etag, modified, order), 1, mark_of(mark)
    ),
    KEYS,
    st.sampled_from([EventKind.CREATED, EventKind.CREATED, EventKind.REMOVED, EventKind.MOVED]),
    ETAGS, MOMENTS, orders(),
    st.integers(0, 30),
)  # fmt: skip
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(
        lambda etag, modified, by: Published(etag, modified, {"small.webp": f"s{etag}", "result.json": "m"}, by),
        st.sampled_from(["A", "B"]),
        MOMENTS,
        st.sampled_from([None, LIAR]),
    ),
    st.just(SameContent()),
    st.builds(lambda etag: SameContent(Published(etag, None, {"result.json": "n"})), st.sampled_from(["A", "B"])),
    st.just(NotFound()),
    st.just(Present()),
    st.just(LeaseReleased()),
    st.just(Restoring()),
    st.builds(
        lambda reason, retry: Failure(reason, "It did not work.", retry=retry),
        st.sampled_from(["store", "unreadable", "replica-behind", "archived"]),
        st.booleans(),
    ),
)


class Direct(Database):
    """Database that runs transactions on a mirror without delay."""

    def __init__(self, engine: Mirror) -> None:
        self._engine = engine

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        self._engine.begin()
        yield Statements(self._engine)
        self._engine.commit()

    async def transact(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async with self.connection() as connection:
            return await work(connection)


class Conformance(RuleBasedStateMachine):
    """Random operations of the real ledger. The mirror compares every answer and row."""

    postgres: ConformancePostgres

    @initialize()
    def begin(self) -> None:
        self.micros = 0
        self.tables = Tables(lambda: self.micros, ready=set(range(1, WORKERS + 1)))
        mirror = Mirror(Model(self.tables, lambda *_: None), self.postgres)
        self.ledger = Ledger(Direct(mirror), {PIPELINE: POLICY}, jitter=lambda: 0.5, shard=0)
        self.sweeps = Sweeps(self.ledger)
        self.held: list[tuple[ClaimedObject, int | None]] = []

    def one_of_held(self, data: st.DataObject) -> tuple[ClaimedObject, int | None]:
        """A lease, most often a live one."""
        live = [(row, holder) for row, holder in self.held if self.tables.by_id[row.id].token == row.token]
        live = [(row, holder) for row, holder in live if self.tables.by_id[row.id].state == "leased"]
        dead = data.draw(st.integers(0, 4)) == 0
        return data.draw(st.sampled_from(self.held if dead or not live else live))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return run_at_once(work)

    @rule(requests=st.lists(st.lists(EVENTS, max_size=3), min_size=1, max_size=3))
    def record(self, requests: list[list[ObjectEvent]]) -> None:
        self.do(self.ledger.record([ReceivedEvents([(PIPELINE, event) for event in events]) for events in requests]))

    @rule(
        lane=st.sampled_from(["work", "work", "check"]),
        most=st.integers(1, 6),
        worker=st.sampled_from([1, 2, LIAR, 9]),
        definition=st.sampled_from([None, 1, 2]),
    )
    def claim(self, lane: Lane, most: int, worker: int, definition: int | None) -> None:
        holder = worker if lane == "work" else None
        claimed = self.do(self.ledger.claim(PIPELINE, lane, most, holder, 30.5, definition))
        self.held += [(row, holder) for row in claimed]

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcomes=st.lists(OUTCOMES, min_size=1, max_size=3))
    def settle(self, data: st.DataObject, outcomes: list[Outcome]) -> None:
        """Live leases, lost ones, and the same one twice."""
        pairs = [(self.one_of_held(data), outcome) for outcome in outcomes]
        self.do(
            self.ledger.settle([Settlement(row.id, row.token, holder, outcome) for (row, holder), outcome in pairs])
        )

    @precondition(lambda self: self.held)
    @rule(data=st.data(), what=st.sampled_from(["extend", "lease", "publishing", "publishing", "vanish", "seal"]))
    def use_lease(self, data: st.DataObject, what: str) -> None:
        row, holder = self.one_of_held(data)
        if what == "extend":
            self.do(self.ledger.extend(row.id, row.token, holder, 17.25, 40.0))
        elif what == "seal":
            if holder is not None and self.do(self.ledger.seal(row.id, row.token, holder, 40.0)):
                self.held.append((row, None))
        elif what == "vanish":
            self.do(self.ledger.fetch("vanish", row.id, row.token, POLICY.replica_lag_seconds, 40.0))
        else:
            self.do(getattr(self.ledger, what)(row.id, row.token, holder))

    @rule(seconds=st.sampled_from([0.000001, 0.4, 3.0, 10.001, 31.0]))
    def wait(self, seconds: float) -> None:
        self.micros += round(seconds * 1e6)

    @rule()
    def reap(self) -> None:
        self.do(self.ledger.reap())

    @rule(forget=st.booleans())
    def decide_about_parked(self, forget: bool) -> None:
        parked = ParkedObjects(self.ledger)
        self.do(parked.forget(ParkedQuery()) if forget else parked.redrive(ParkedQuery()))

    @rule(after=st.integers(0, 2), gone=st.booleans())
    def distrust(self, after: int, gone: bool) -> None:
        self.do(Distrust(self.ledger).distrust(LIAR, "It lies.", after, 2))
        if gone:
            fleet = LedgerFleet(self.ledger, owner="yurt", pipelines=lambda _: [], slots={}, limits={})
            self.do(fleet.gone(LIAR))

    @rule(listed=st.lists(st.tuples(KEYS, st.sampled_from("AB"), st.integers(0, 40)), unique_by=lambda item: item[0]))
    def sweep(self, listed: list[tuple[str, str, int]]) -> None:
        """One page of a full sweep, from beginning to end."""
        page = [ListedObject(key, etag, EPOCH + timedelta(seconds=at), 1) for key, etag, at in sorted(listed)]
        ordered = self.do(self.sweeps.order(SweepOrder(PIPELINE, "full", "")))
        begun = self.do(self.sweeps.begin(ordered.id))
        assert begun is not None
        unknown = self.do(self.sweeps.compare(begun, page, POLICY.replica_lag_seconds))
        missing = self.do(self.sweeps.missing(begun, "~", [item.key for item in page], 10))
        known = self.do(self.sweeps.known(begun, [item.key for item in page]))
        adopted = [AdoptedResult(item.listed, 500, {"result.json": "m"}) for item in unknown if not item.row]
        events = [
            ObjectEvent("sweep", "photos-in", key, EventKind.REMOVED, ContentVersion(), None, mark_of(begun.id, key))
            for key in missing
        ]
        void = [key for key, row in known.items() if row.settled][:1]
        brought = PageResult("outputs", "z", True, SweepCounts(listed=len(page)), None, events, adopted, void)
        self.do(self.sweeps.commit_page(begun, brought))
        self.do(self.sweeps.page_failed(begun.id, "503", 2.0, 8))

    @invariant()
    def adds_up(self) -> None:
        assert not hasattr(self, "tables") or self.tables.balance() == (0, 0)


@pytest.fixture(scope="module")
def postgres(postgres_dsn: str) -> Iterator[ConformancePostgres]:
    """A connection to a database of this module's own."""
    with own_database(postgres_dsn) as made:
        yield made


def test_the_model_answers_as_postgresql_does(postgres: ConformancePostgres) -> None:
    machine = type("Machine", (Conformance,), {"postgres": postgres})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.parametrize("seed", range(20))
def test_histories_are_the_same_on_postgresql(postgres: ConformancePostgres, seed: int) -> None:
    mirrors: list[Mirror] = []

    def mirrored(model: Model) -> Mirror:
        mirrors.append(Mirror(model, postgres))
        return mirrors[-1]

    result = run(HistoryChoice(seed, mirrored=mirrored))
    assert result.violation is None, str(result.violation)
    assert mirrors[0].statements > 10


def test_a_difference_is_found(postgres: ConformancePostgres) -> None:
    """With a mutant of the model alone, the two must not agree."""

    def mirrored(model: Model) -> Mirror:
        return Mirror(model, postgres)

    without = frozenset({"mark"})
    results = [run(HistoryChoice(seed, mirrored=mirrored, without=without)) for seed in range(3)]
    assert any(result.violation and "Differs" in str(result.violation) for result in results)

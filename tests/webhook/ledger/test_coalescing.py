from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.ledger.ledger_bench import event
from webhook.events import ContentVersion, EventKind, EventOrder, ObjectEvent, mark_of
from webhook.ledger.coalescing import CounterIncrements, Verdict, fold

T0 = datetime(2026, 5, 15, tzinfo=UTC)


def said_of(kind: EventKind, version: ContentVersion, delivery: int) -> ObjectEvent:
    """Equal marks only for equal events."""
    mark = mark_of(kind, version, delivery)
    return ObjectEvent("tigris", "photos-in", "ab"[delivery % 2], kind, version, None, mark)


events = st.builds(
    said_of,
    st.sampled_from([EventKind.CREATED, EventKind.REMOVED]),
    st.builds(
        ContentVersion,
        st.sampled_from([None, "x", "y"]),
        st.sampled_from([None, T0, T0 + timedelta(seconds=1), T0 + timedelta(seconds=2)]),
        st.sampled_from([None, EventOrder("s", b"1"), EventOrder("s", b"2"), EventOrder("t", b"1")]),
    ),
    st.integers(0, 3),
)
requests = st.lists(st.lists(st.tuples(st.sampled_from([1, 2]), events), max_size=6), max_size=4)
Requests = list[list[tuple[int, ObjectEvent]]]


@given(requests, st.sampled_from([Verdict.ACCEPTED, Verdict.COALESCED, Verdict.DUPLICATE, Verdict.STALE]))
def test_every_event_has_exactly_one_verdict(said: Requests, word: Verdict) -> None:
    hints = fold(said)
    answered = Counter(request for _, hint in hints for request, _ in hint.verdicts(word))
    assert answered == Counter(number for number, events in enumerate(said) for _ in events)


@given(requests)
def test_an_accepted_hint_is_one_change(said: Requests) -> None:
    for _, hint in fold(said):
        verdicts = Counter(verdict for _, verdict in hint.verdicts(Verdict.ACCEPTED))
        assert verdicts[Verdict.ACCEPTED] == 1
        assert set(verdicts) <= {Verdict.ACCEPTED, Verdict.COALESCED, Verdict.DUPLICATE, Verdict.STALE}


@given(requests)
def test_there_is_one_hint_a_place_in_the_order_of_locks(said: Requests) -> None:
    places = [place for place, _ in fold(said)]
    assert places == sorted({(pipeline, event.key) for events in said for pipeline, event in events})


@given(requests)
def test_what_cannot_be_older_survives_in_any_order(said: Requests) -> None:
    """The hint that goes to the ledger is not older than any of the events."""
    for place, hint in fold(said):
        mine = [event for events in said for pipeline, event in events if (pipeline, event.key) == place]
        assert not any(hint.event.version.is_older_than(event.version) for event in mine)


@given(requests)
def test_only_what_is_older_than_another_is_stale_and_only_what_came_twice_a_duplicate(said: Requests) -> None:
    for place, hint in fold(said):
        mine = [event for events in said for pipeline, event in events if (pipeline, event.key) == place]
        settled = Counter(verdict for _, verdict in hint.settled)
        older = sum(any(event.version.is_older_than(other.version) for other in mine) for event in mine)
        again = len(mine) - len({event.mark for event in mine})
        assert settled[Verdict.STALE] <= older
        assert settled[Verdict.DUPLICATE] <= again


def test_locks_are_taken_in_the_order_of_bytes_as_the_database_sorts() -> None:
    keys = ["b", "a", "Z", "é", "\uffff", "\U00010000", "a/", "a "]
    assert [key for (_, key), _ in fold([[(1, event(key)) for key in keys]])] == sorted(keys, key=str.encode)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_newer_of_two_in_one_flush_goes_on(swapped: bool) -> None:
    pair = [event(etag="old", order=EventOrder("s", b"1")), event(etag="new", order=EventOrder("s", b"2"))]
    [(_, hint)] = fold([[(1, item)] for item in (reversed(pair) if swapped else pair)])
    assert hint.event.version.etag == "new"
    assert sorted(hint.verdicts(Verdict.ACCEPTED)) == [
        (0, Verdict.ACCEPTED if swapped else Verdict.STALE),
        (1, Verdict.STALE if swapped else Verdict.ACCEPTED),
    ]


def test_two_that_cannot_be_ordered_become_one_hint_that_names_neither() -> None:
    [(_, hint)] = fold([[(1, event(etag="a"))], [(1, event(etag="b"))]])
    assert hint.event.version == ContentVersion()
    assert list(hint.verdicts(Verdict.ACCEPTED)) == [(0, Verdict.ACCEPTED), (1, Verdict.COALESCED)]
    assert list(hint.verdicts(Verdict.STALE)) == [(0, Verdict.STALE), (1, Verdict.STALE)]


def test_counters_are_written_in_one_order() -> None:
    count = CounterIncrements()
    count.add(2, "a")
    count.add(1, "b", 3)
    count.add(1, "a")
    count.add(2, "a")
    count.add(3, "none", 0)
    assert count.columns() == ([1, 1, 2], ["a", "b", "a"], [1, 3, 2])

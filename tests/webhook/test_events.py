from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from webhook.events import ContentVersion, EventKind, EventOrder, ObjectEvent, mark_of, merge, utc

T0 = datetime(2026, 5, 15, 10, 30, tzinfo=UTC)

KEYS = (b"\0", b"\1", b"\1\0")
INTERVALS = [(key, latest) for key in KEYS for latest in (None, *KEYS, b"\2") if latest is None or latest >= key]
ORDERS = [None, *(EventOrder(scheme, key, latest) for scheme in "ab" for key, latest in INTERVALS)]
MOMENTS = [None, *(T0 + timedelta(milliseconds=ms) for ms in (0, 300, 900, 1_000, 1_500, 2_000))]
versions = st.builds(
    ContentVersion, st.none() | st.sampled_from("xy"), st.sampled_from(MOMENTS), st.sampled_from(ORDERS)
)


def utc_of(moment: datetime) -> datetime:
    """Any year."""
    return moment.replace(tzinfo=UTC)


events = st.builds(
    ObjectEvent,
    source=st.just("tigris"),
    bucket=st.just("photos-in"),
    key=st.just("a.jpg"),
    kind=st.sampled_from([EventKind.CREATED, EventKind.REMOVED, EventKind.MOVED]),
    version=versions,
    size=st.none() | st.integers(0, 2),
    mark=st.binary(min_size=12, max_size=12),
)


@given(versions)
def test_no_version_is_older_than_itself(a: ContentVersion) -> None:
    assert not a.is_older_than(a)


@given(versions, versions)
def test_of_two_versions_at_most_one_is_older(a: ContentVersion, b: ContentVersion) -> None:
    assert not (a.is_older_than(b) and b.is_older_than(a))


def test_older_than_what_is_older_is_older() -> None:
    kinds = [ContentVersion(None, modified, order) for modified, order in itertools.product(MOMENTS, ORDERS)]
    older = {(a, b) for a, b in itertools.product(kinds, repeat=2) if a.is_older_than(b)}
    assert older
    for a, b in older:
        assert all((a, c) in older for c in kinds if (b, c) in older)


@given(versions, versions)
def test_there_is_no_verdict_across_schemes(a: ContentVersion, b: ContentVersion) -> None:
    assume((a.order and a.order.scheme) != (b.order and b.order.scheme))
    assert not a.is_older_than(b)


orders = st.builds(
    EventOrder, st.sampled_from(["tigris", "ceph"]), st.binary(max_size=3), st.none() | st.binary(max_size=3)
)
any_versions = st.builds(
    ContentVersion, st.none() | st.text(), st.none() | st.datetimes().map(utc_of), st.none() | orders
)


@given(any_versions, any_versions, any_versions)
def test_older_is_a_strict_partial_order_also_of_intervals(
    a: ContentVersion, b: ContentVersion, c: ContentVersion
) -> None:
    """Also of intervals that end before they begin, which no source makes."""
    assert not a.is_older_than(a)
    assert not (a.is_older_than(b) and b.is_older_than(a))
    assert not (a.is_older_than(b) and b.is_older_than(c)) or a.is_older_than(c)


def test_intervals_that_overlap_or_touch_are_in_no_order() -> None:
    a, b, c, d = (ContentVersion(order=EventOrder("a", bytes([n]), bytes([n + 2]))) for n in (1, 2, 3, 4))
    assert not any(x.is_older_than(y) for x, y in itertools.permutations((a, b, c), 2))
    assert a.is_older_than(d)
    assert not d.is_older_than(a)


def test_an_interval_and_a_moment_compare() -> None:
    interval = ContentVersion(order=EventOrder("a", b"\1", b"\3"))
    moments = [ContentVersion(order=EventOrder("a", bytes([n]))) for n in range(5)]
    assert [moment.is_older_than(interval) for moment in moments] == [True, False, False, False, False]
    assert [interval.is_older_than(moment) for moment in moments] == [False, False, False, False, True]


def test_one_scheme_orders_whatever_last_modified_says() -> None:
    early, late = EventOrder("a", b"\1"), EventOrder("a", b"\2")
    assert ContentVersion("x", T0 + timedelta(hours=1), early).is_older_than(ContentVersion("y", T0, late))


def test_last_modified_decides_where_there_is_no_order() -> None:
    assert ContentVersion("x", T0).is_older_than(ContentVersion("y", T0 + timedelta(seconds=1)))
    assert not ContentVersion("x", T0).is_older_than(ContentVersion("y"))
    assert not ContentVersion("x").is_older_than(ContentVersion("y", T0))


def test_a_last_modified_in_whole_seconds_is_not_older_than_its_own_fraction() -> None:
    # HTTP says 10:30:00 of what an event says 10:30:00.300 of: it may be the same content, or a newer one.
    assert not ContentVersion("x", T0).is_older_than(ContentVersion("x", T0 + timedelta(milliseconds=300)))


@given(events, events, versions)
def test_a_merged_hint_is_older_only_than_what_both_are_older_than(
    first: ObjectEvent, second: ObjectEvent, other: ContentVersion
) -> None:
    merged = merge(first, second).version
    if merged.is_older_than(other):
        assert first.version.is_older_than(other)
        assert second.version.is_older_than(other)
    if other.is_older_than(merged):
        assert other.is_older_than(first.version) or other.is_older_than(second.version)


@given(events, events)
def test_a_merged_hint_names_an_etag_only_where_both_tell_of_its_creation(
    first: ObjectEvent, second: ObjectEvent
) -> None:
    merged = merge(first, second)
    if merged.version.etag is not None:
        assert first.kind is second.kind is EventKind.CREATED
        assert first.version.etag == second.version.etag == merged.version.etag


@given(events, events)
def test_a_merged_hint_is_nobodys_duplicate_but_its_own(first: ObjectEvent, second: ObjectEvent) -> None:
    merged = merge(first, second)
    assert merged.mark not in (first.mark, second.mark)
    assert merged.mark == merge(first, second).mark
    assert (merged.key, merged.bucket) == (first.key, first.bucket)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("a\0b",)),
        (("a\0b", "c"), ("a", "b\0c")),
        ((None,), ("None",)),
        ((1,), ("1",)),
        (("", "a"), ("a", "")),
        ((T0,), (T0 + timedelta(microseconds=1),)),
    ],
)
def test_marks_of_different_events_differ(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert mark_of(*one) == mark_of(*one)
    assert mark_of(*one) != mark_of(*other)


@given(st.lists(st.text() | st.none() | st.integers()))
def test_every_event_has_a_mark_of_twelve_bytes(parts: list[object]) -> None:
    assert len(mark_of(*parts)) == 12


def test_moments_are_compared_in_utc() -> None:
    assert utc(T0.replace(tzinfo=None)) == T0
    assert utc(datetime(2026, 5, 15, 12, 30, tzinfo=timezone(timedelta(hours=2)))).tzinfo is UTC


@pytest.mark.parametrize("hours", [-10, 0, 10])
@pytest.mark.parametrize("end", [datetime.min, datetime.max])
def test_no_object_is_from_the_ends_of_the_calendar(end: datetime, hours: int) -> None:
    with pytest.raises(OverflowError):
        utc(end.replace(tzinfo=timezone(timedelta(hours=hours))))

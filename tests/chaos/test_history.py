"""Which sequences of observed results a history accepts, and which it reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.content import UploadContent, facts
from tests.chaos.history import History, RecordedWrite

A, B, C = (UploadContent("key", number, 0.0, 3) for number in (1, 2, 3))


def written(*contents: UploadContent | None) -> History:
    return History("key", [RecordedWrite(float(at), "overwrite", content) for at, content in enumerate(contents)])


def observe(history: History, *contents: UploadContent | None) -> list[str]:
    return [history.observe(float(at), content.etag if content else None) for at, content in enumerate(contents)]


@pytest.mark.parametrize(
    ("writes", "seen"),
    [
        ([], [None]),
        ([A], [None, A, A]),
        ([A, B, C], [None, A, C]),
        ([A, B, A], [A, B, A]),
        ([A, B, A], [A, A, B]),
        ([A, None, A], [None, A, None, A]),
        ([A, None], [A, None]),
        ([A, None, B], [A, B]),
    ],
)
def test_what_can_be_a_walk_forward_is_right(
    writes: list[UploadContent | None], seen: list[UploadContent | None]
) -> None:
    assert observe(written(*writes), *seen) == [""] * len(seen)


@pytest.mark.parametrize(
    ("writes", "seen", "fault"),
    [
        ([A, B], [B, A], "content 1 (write 0) is published again after content 2 (write 1)"),
        ([A, B, A], [B, A, B], "content 2 (write 1) is published again after content 1 (write 2)"),
        ([A], [A, None], "nothing is published again after content 1 (write 0)"),
        ([A, None], [A, None, A], "content 1 (write 0) is published again after nothing (write 1)"),
        ([A], [B], f"{B.etag} is published, but was never written"),
    ],
)
def test_what_goes_back_is_told(
    writes: list[UploadContent | None], seen: list[UploadContent | None], fault: str
) -> None:
    assert observe(written(*writes), *seen) == [""] * (len(seen) - 1) + [fault]


def test_each_step_back_is_told_once() -> None:
    assert [bool(fault) for fault in observe(written(A, B), B, A, A, B, A)] == [False, True, False, False, True]


@given(st.lists(st.sampled_from([A, B, C, None]), min_size=1, max_size=12), st.data())
def test_no_walk_forward_is_taken_for_one_back(contents: list[UploadContent | None], data: st.DataObject) -> None:
    positions = sorted(data.draw(st.lists(st.integers(0, len(contents) - 1), max_size=12)))
    assert not any(observe(written(*contents), *(contents[position] for position in positions)))


def test_whether_the_newest_was_reached() -> None:
    history = written(A, B)
    observe(history, A)
    assert not history.reached
    observe(history, B)
    assert history.reached


def test_tokens_only_grow() -> None:
    history = written(A)
    assert [history.observe_token(0.0, token) for token in (3, 3, 5)] == [""] * 3
    assert history.observe_token(1.0, 4) == "token 4 published after 5"


def test_only_changes_are_kept() -> None:
    history = written(A, B)
    observe(history, None, A, A, A, B, B)
    assert [sighting.etag for sighting in history.observations] == [None, A.etag, B.etag]


def test_a_content_says_which_it_is() -> None:
    assert UploadContent.decode(A.encode()) == A
    assert len({content.etag for content in (A, B, C)}) == 3
    assert b'"number": 1' in facts(A.encode())


@pytest.mark.parametrize("torn", [b"", b"{}", A.encode()[:-1], A.encode() + b"x"])
def test_a_torn_content_is_refused(torn: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        UploadContent.decode(torn)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.tunnel.frames import MAX_HEADERS, TunnelViolation
from workers.tunnel.heads import AnswerHead, HeadRefused, RequestHead

NAME = st.from_regex(rb"[!#$%&'*+.^_`|~0-9a-z-]{1,20}", fullmatch=True)
VALUE = st.binary(max_size=40).map(lambda value: value.translate(None, b"\0\r\n"))
HEADERS = st.lists(st.tuples(NAME, VALUE), max_size=20)


@given(st.sampled_from(["GET", "POST", "M-SEARCH"]), HEADERS, st.one_of(st.none(), st.integers(0, 10**17)))
def test_a_request_is_decoded_as_it_was(
    method: str, headers: list[tuple[bytes, bytes]], body_bytes: int | None
) -> None:
    head = RequestHead(method, b"/a%20b?c=\xff", headers, body_bytes)
    assert RequestHead.decoded(head.encoded()) == head


@given(st.integers(100, 599), HEADERS)
def test_an_answer_is_decoded_as_it_was(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    head = AnswerHead(status, headers)
    assert AnswerHead.decoded(head.encoded()) == head


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_head_that_ends_no_line_or_a_violation(payload: bytes) -> None:
    for decode in (RequestHead.decoded, AnswerHead.decoded):
        try:
            head = decode(payload)
        except TunnelViolation:
            continue
        texts = [text for header in head.headers for text in header]
        assert not any(control in text for text in texts for control in (b"\r", b"\n", b"\0"))


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nb", b"a\0b", b"\r"])
def test_a_value_that_would_end_its_line_is_not_sent(value: bytes) -> None:
    with pytest.raises(HeadRefused, match="control character"):
        AnswerHead(200, [(b"x", value)]).encoded()


def test_a_flood_of_headers_is_not_sent_and_not_taken() -> None:
    with pytest.raises(HeadRefused, match="more than"):
        AnswerHead(200, [(b"x", b"y")] * (MAX_HEADERS + 1)).encoded()
    with pytest.raises(HeadRefused, match="longer than"):
        AnswerHead(200, [(b"x", b"y" * 200_000)]).encoded()
    with pytest.raises(TunnelViolation, match="too many"):
        AnswerHead.decoded(b"200" + b"\0x\0y" * (MAX_HEADERS + 1))


@pytest.mark.parametrize("header", [b"a b\0001", b"a\0001\r\nb: 2", b"a\0\0", b"\0001", b"Connection\0a", b"a\n\0001"])
def test_an_answer_with_a_header_that_is_none_is_a_violation(header: bytes) -> None:
    with pytest.raises(TunnelViolation):
        AnswerHead.decoded(b"200\0" + header)


@pytest.mark.parametrize(
    "payload", [b"", b"GET", b"GET\0/ x\0", b"G T\0/\0", b"GET\0/\0-1", b"GET\0\0", b"GET\0/\0\0a", b"GET\0/\0\0\0v"]
)
def test_what_is_no_request_is_a_violation(payload: bytes) -> None:
    with pytest.raises(TunnelViolation):
        RequestHead.decoded(payload)

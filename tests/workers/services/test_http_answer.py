"""Answers of HTTP servers, parsed in pieces of any size; h11 says what they mean."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.services.http_answer import AnswerMalformed, AnswerParser

OK = b"HTTP/1.1 200 OK\r\n"


def parsed(text: bytes, *cuts: int, method: str = "GET") -> tuple[AnswerParser, bytes, bool]:
    """Feed an answer, cut at these places, then the end of the connection. Returns the body and whether it is whole."""
    parser, body, begun = AnswerParser(method), b"", 0
    for cut in (*sorted(cut % (len(text) + 1) for cut in cuts), len(text)):
        body += bytes(parser.feed(text[begun:cut]))
        begun = cut
    kept = parser.can_follow
    whole = parser.end()
    parser.can_follow = kept
    return parser, body, whole


def by_h11(text: bytes, method: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(text)
    connection.receive_data(b"")
    status, headers, body = 0, [], b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status, headers = event.status_code, [*event.headers]
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
    return status, headers, body


_bodies = st.binary(max_size=300)
_headers = st.lists(
    st.tuples(
        st.sampled_from([b"X-A", b"x-b", b"Via", b"Set-Cookie"]),
        st.binary(max_size=20).map(lambda value: bytes(b for b in value if b >= 0x21 and b != 0x7F)),
    ),
    max_size=5,
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, str]:
    """An answer, and the method of its request."""
    status, body = draw(st.sampled_from([200, 204, 304, 404, 500])), draw(_bodies)
    method = draw(st.sampled_from(["GET", "POST", "HEAD"]))
    framing = draw(st.sampled_from(["length", "chunked", "end"]))
    early = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n"]))
    lines = b"".join(b"%s:%s%s\r\n" % (name, draw(st.sampled_from([b"", b" ", b"\t "])), value)
                     for name, value in draw(_headers))  # fmt: skip
    head = early + b"HTTP/1.1 %d Said\r\n" % status + lines
    bare = method == "HEAD" or status in (204, 304)
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + (b"" if bare else body), method
    if framing == "end" or bare:
        return head + b"\r\n" + (b"" if bare else body), method
    cut = draw(st.integers(0, len(body)))
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part)
    return head + b"Transfer-Encoding: Chunked\r\n\r\n" + chunks + b"0\r\nX-Trailer: 1\r\n\r\n", method


@given(answers(), st.lists(st.integers(0, 1_000), max_size=6))
def test_an_answer_means_what_h11_says_however_it_is_cut(answer: tuple[bytes, str], cuts: list[int]) -> None:
    text, method = answer
    parser, body, whole = parsed(text, *cuts, method=method)
    status, headers, expected = by_h11(text, method)
    assert parser.head is not None
    assert (parser.head.status, body, whole) == (status, expected, True)
    passed = [(name, value) for name, value in headers if name != b"transfer-encoding"]
    assert sorted(parser.head.headers) == sorted(passed)


@pytest.mark.parametrize(
    "text",
    [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        OK + b"a b: c\r\n\r\n",
        OK + b": c\r\n\r\n",
        OK + b"a: b\x00c\r\n\r\n",
        OK + b"a: b\rc\r\n\r\n",
        OK + b"content-length: 1, 2\r\n\r\n",
        OK + b"content-length: +1\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n" + b"1" * 10_000,
        OK + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 20_000,
    ],
)
def test_what_is_no_answer_is_refused_however_it_is_cut(text: bytes) -> None:
    for cuts in ((), range(0, len(text), 7)):
        with pytest.raises(AnswerMalformed):
            parsed(text, *cuts)


@pytest.mark.parametrize("rest", [b"content-length: 4\r\n\r\nabc", b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"])
def test_a_body_that_is_cut_off_is_not_whole(rest: bytes) -> None:
    _, body, whole = parsed(OK + rest)
    assert (body, whole) == (b"abc", False)


@pytest.mark.parametrize(
    ("text", "can"),
    [
        (OK + b"content-length: 0\r\n\r\n", True),
        (OK + b"content-length: 0\r\nconnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        (OK + b"\r\n", False),
        (OK + b"content-length: 0\r\n\r\nmore than was asked", False),
    ],
)
def test_whether_another_request_can_follow(text: bytes, can: bool) -> None:
    assert parsed(text)[0].can_follow is can


def test_old_servers_fold_headers_end_lines_with_lf_and_say_a_length_twice() -> None:
    parser, body, _ = parsed(b"HTTP/1.1 200\na: b\n  c\ncontent-length: 2\ncontent-length: 2\n\nok")
    assert parser.head is not None
    assert list(parser.head.headers) == [(b"a", b"b c"), (b"content-length", b"2")]
    assert body == b"ok"

"""Requests are read as HTTP has them, with a limit, and checked for what an API takes."""

from __future__ import annotations

import asyncio

import pytest

from infra.market.exchange import BODY_LIMIT_BYTES, Reply, Wrong, expect, read_request, texts, written


def reader(raw: bytes) -> asyncio.StreamReader:
    made = asyncio.StreamReader()
    made.feed_data(raw)
    made.feed_eof()
    return made


async def test_a_request_has_its_query_and_its_json() -> None:
    raw = b'PUT /a%20b/?limit=25&after=x HTTP/1.1\r\nContent-Length: 7\r\nX-A: b: c\r\n\r\n{"a":1}'
    request = await read_request(reader(raw))
    assert (request.method, request.path, request.query) == ("PUT", "/a b/", {"limit": "25", "after": "x"})
    assert (request.headers["x-a"], request.body) == ("b: c", {"a": 1})


@pytest.mark.parametrize("length", [b"-1", b"x", b"%d" % (BODY_LIMIT_BYTES + 1)])
async def test_a_body_of_no_size_or_too_large_is_not_read(length: bytes) -> None:
    with pytest.raises(ValueError, match=r"body of|invalid literal"):
        await read_request(reader(b"PUT / HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n"))


def test_an_answer_is_json_or_text() -> None:
    assert written(Reply(200, {"a": 1})).endswith(b'Connection: close\r\n\r\n{"a": 1}')
    assert written(Reply(429, text="slow", headers={"Retry-After": "7"})).startswith(b"HTTP/1.1 429 Status\r\n")
    assert written(Reply(204)).endswith(b"Content-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("wrong", [{}, {"a": "x"}, {"a": True}, {"a": 1, "b": 2}, {"a": 1, "c": 1}, 7, None])
def test_fields_are_those_that_are_known_and_of_their_types(wrong: object) -> None:
    expect({"a": 1}, a=int, b=[str])
    expect({"a": 1, "b": "x"}, a=int, b=[str])
    with pytest.raises(Wrong):
        expect(wrong, a=int, b=[str])


def test_texts_are_texts() -> None:
    texts(["a", ""])
    with pytest.raises(Wrong):
        texts(["a", 1])

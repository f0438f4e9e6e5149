from __future__ import annotations

import contextlib
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.api.content_coding import DecodedTooLong, UnreadableCoding, decoded_body


@given(st.binary(), st.sampled_from(["", "gzip", "deflate", "br", "gzip, gzip", "é"]))
def test_any_bytes_are_decoded_or_refused(body: bytes, coding: str) -> None:
    with contextlib.suppress(UnreadableCoding):
        decoded_body(body, coding, 1000)


@given(st.text(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-32-be"]))
def test_json_in_any_unicode_encoding_becomes_utf8(text: str, encoding: str) -> None:
    body = f'{{"{text}"'
    assert decoded_body(body.encode(encoding), "", 1000).decode() == body


def test_what_is_compressed_to_little_is_decoded_no_further_than_the_limit() -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    with pytest.raises(DecodedTooLong):
        decoded_body(bomb, "gzip", 1000)
    with pytest.raises(DecodedTooLong):
        decoded_body(gzip.compress(b"a" * 600) * 2, "gzip", 1000)
    assert decoded_body(gzip.compress(b"a" * 500) * 2, "gzip", 1000) == b"a" * 1000

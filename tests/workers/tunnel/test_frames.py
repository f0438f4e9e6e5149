from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.tunnel import frames
from workers.tunnel.frames import Kind, TunnelViolation

PIECES = st.lists(
    st.tuples(st.sampled_from([Kind.DATA, Kind.PART, Kind.TEXT, Kind.ANSWER]), st.integers(1, 2**31 - 1), st.binary()),
    max_size=20,
)


@given(PIECES)
def test_what_was_encoded_is_decoded(pieces: list[tuple[Kind, int, bytes]]) -> None:
    message = b"".join(frames.frame_header(kind, stream, len(data)) + data for kind, stream, data in pieces)
    assert list(frames.frames(message)) == pieces


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_frames_or_a_violation(message: bytes) -> None:
    try:
        decoded = list(frames.frames(message))
    except TunnelViolation:
        return
    assert sum(9 + len(payload) for _, _, payload in decoded) == len(message)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"\0" * 9, "no kind of frame 0"),
        (frames.frame_header(Kind.DATA, 1, frames.MAX_DATA_BYTES + 1), "exceeds its limit"),
        (frames.frame_header(Kind.END, 1, 1) + b"x", "exceeds its limit"),
        (frames.frame_header(Kind.DATA, 1, 5) + b"four", "cut off"),
        (frames.frame_header(Kind.DATA, 0, 0), "no stream 0"),
        (frames.frame_header(Kind.DATA, 2**31, 0), "no stream"),
    ],
)
def test_each_limit_is_a_violation(header: bytes, says: str) -> None:
    with pytest.raises(TunnelViolation, match=says):
        list(frames.frames(header))


@given(st.integers(0, 2**16 - 1), st.text())
def test_codes_and_reasons_are_decoded_and_cut_off(code: int, reason: str) -> None:
    payload = frames.coded(code, reason)
    assert len(payload) <= frames.MAX_TEXT_BYTES
    decoded, text = frames.code_and_reason(payload)
    assert decoded == code
    if len(reason) < 1000:
        assert text == reason.encode("utf-8", "replace").decode()


def test_a_code_that_is_missing_is_a_violation() -> None:
    with pytest.raises(TunnelViolation):
        frames.code_and_reason(b"x")
    with pytest.raises(TunnelViolation):
        frames.window_bytes(b"abc")

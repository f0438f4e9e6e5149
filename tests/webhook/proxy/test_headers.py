from __future__ import annotations

import pytest

from webhook.proxy.headers import Hop, answer_headers, prefers_async, request_headers

HOP = Hop("192.0.2.1", "https", b"yurt.example.com", b"/services/a", trusted=False)


def passed(*headers: tuple[bytes, bytes], hop: Hop = HOP) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in request_headers(headers, hop):
        found.setdefault(name, []).append(value)
    return found


def test_what_connection_names_ends_here_but_not_what_all_need() -> None:
    seen = passed((b"connection", b"close, X-Mine , host"), (b"x-mine", b"1"), (b"host", b"h"), (b"x-other", b"2"))
    assert b"x-mine" not in seen
    assert seen[b"host"] == [b"h"]
    assert seen[b"x-other"] == [b"2"]


def test_only_trusted_proxies_are_believed() -> None:
    said = ((b"x-forwarded-for", b"198.51.100.7"), (b"forwarded", b"for=198.51.100.7"), (b"x-forwarded-proto", b"http"))
    seen = passed(*said)
    assert seen[b"x-forwarded-for"] == [b"192.0.2.1"]
    assert seen[b"forwarded"] == [b'for=192.0.2.1;host="yurt.example.com";proto=https']
    assert seen[b"x-forwarded-proto"] == [b"https"]
    seen = passed(*said, hop=Hop("2001:db8::1", "https", b"h", b"", trusted=True))
    assert seen[b"x-forwarded-for"] == [b"198.51.100.7, 2001:db8::1"]
    assert seen[b"forwarded"] == [b'for=198.51.100.7, for="[2001:db8::1]";host="h";proto=https']
    assert seen[b"x-forwarded-proto"] == [b"http"]
    assert b"x-forwarded-prefix" not in seen


@pytest.mark.parametrize(
    "parent", [b"", b"nonsense", b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01", b"ff-" + b"a" * 32 + b"-" + b"b" * 16]
)
def test_a_trace_that_cannot_be_read_is_begun_anew(parent: bytes) -> None:
    seen = passed((b"traceparent", parent), (b"tracestate", b"v=1"))
    assert seen[b"traceparent"][0] != parent
    assert len(seen[b"traceparent"][0]) == 55
    assert b"tracestate" not in seen


def test_a_credential_reaches_no_machine() -> None:
    assert b"authorization" not in passed((b"authorization", b"Bearer secret"))
    seen = passed((b"authorization", b"Bearer own"), (b"yurt-token", b"secret"))
    assert (seen[b"authorization"], b"yurt-token" in seen) == ([b"Bearer own"], False)


def test_cookies_of_the_control_planes_pages_reach_no_machine() -> None:
    cookie = (b"cookie", b"__Host-yurt-aa=admin.9.n.s")
    assert b"cookie" not in passed(cookie)
    assert passed(cookie, hop=Hop("192.0.2.1", "https", b"own.example", b"", trusted=False))[b"cookie"] == [cookie[1]]


@pytest.mark.parametrize("name", [b"nel", b"report-to", b"alt-svc", b"clear-site-data", b"yurt-machine-lost"])
def test_what_speaks_for_the_whole_origin_is_not_passed_on(name: bytes) -> None:
    assert name not in dict(answer_headers([(name, b"x")], shared_origin=True))


@pytest.mark.parametrize("lengths", [(b"+5",), (b"-5",), (b"abc",), (b"5", b"50"), (b"",), (b"1" * 19,)])
def test_lengths_that_are_none_or_contradict_each_other_are_not_passed_on(lengths: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="content-length"):
        answer_headers([(b"content-length", length) for length in lengths], shared_origin=False)


def test_a_length_that_is_said_twice_is_passed_on_once() -> None:
    said = [(b"content-length", b"5"), (b"x", b"1"), (b"content-length", b"5")]
    headers = answer_headers(said, shared_origin=False)
    assert [value for name, value in headers if name == b"content-length"] == [b"5"]


def test_pages_of_a_service_do_not_share_the_control_planes_origin() -> None:
    said = [(b"set-cookie", b"a=1"), (b"content-type", b"text/html"), (b"transfer-encoding", b"chunked")]
    shared, own = (dict(answer_headers(said, shared_origin=shared)) for shared in (True, False))
    assert shared.keys() == {b"content-type", b"via", b"content-security-policy"}
    assert own.keys() == {b"content-type", b"via", b"set-cookie"}


def test_preferences() -> None:
    assert prefers_async([(b"prefer", b'return=minimal, Respond-Async ;x="1"')])
    assert not prefers_async([(b"prefer", b"respond-asynchronously"), (b"x", b"respond-async")])

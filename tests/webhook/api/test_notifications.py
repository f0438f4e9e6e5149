"""Notifications over real HTTP into a real PostgreSQL: what is recorded, and that a 2xx comes after the commit."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import random
import zlib
from collections.abc import AsyncIterator, Callable

import asyncpg
import httpx
import pytest

from tests.polling import until
from tests.webhook.plane import WEBHOOK, RunningPlane, configured, control_plane, event, killed, pipeline, serving
from tests.webhook.sources.s3_samples import ceph
from webhook.api import http_server
from webhook.ledger.postgres import PostgresServer
from webhook.sources import MAX_EVENTS

HEAD = f"POST /v1/notifications/tigris HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {WEBHOOK}\r\n".encode()


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_body_too_long_is_refused_by_its_declared_length_unread(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(server={"body_limit_bytes": 2048})) as plane:
        response = await plane.exchange(HEAD + b"connection: close\r\ncontent-length: 2049\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 413 ")  # and nothing of the body was sent
        padded = json.dumps({"events": [event("a.jpg")]}).encode().ljust(2048)
        assert (await plane.post_events(content=padded)).status_code == 200
        assert (await plane.post_events(content=padded + b" ")).status_code == 413


async def test_a_chunked_body_too_long_is_refused_before_it_ends(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.1)
    async with control_plane(postgres_dsn, configured(server={"body_limit_bytes": 65_536})) as plane:
        chunks = b"10000\r\n" + b" " * 65_536 + b"\r\n", b"2\r\n "  # one byte more, and not the end
        response = await plane.exchange(HEAD + b"transfer-encoding: chunked\r\n\r\n", *chunks)
        assert response.startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_only_listens_when_it_has_sent_all_sees_why_it_was_too_much(postgres_dsn: str) -> None:
    async def much() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 65_536

    async with control_plane(postgres_dsn, configured(server={"body_limit_bytes": 65_536})) as plane:
        for content in (much(), b" " * 6_553_600):
            response = await plane.post_events(content=content)
            assert (response.status_code, response.json()["error"]) == (413, "too-large")


BAD_BODIES = {
    "empty": b"",
    "not JSON": b"hello",
    "an array": b"[]",
    "a string": b'"events"',
    "null": b"null",
    "without events": b"{}",
    "events no array": b'{"events": {}}',
    "events null": b'{"events": null}',
    "deeply nested": b'{"events": ' + b"[" * 100_000,
    "deeply nested objects": b'{"a":' * 100_000,
    "not text": b"\xff\xfe\x00\xd8\xff",
    "a number": b"1e999999",
    "gzip cut off": gzip.compress(b'{"events": []}')[:-4],
    "gzip damaged": gzip.compress(b'{"events": []}' * 9).replace(b"ev", b"x"),
    "gzip of nothing": gzip.compress(b""),
}


async def test_a_body_that_is_no_notification_is_kept_and_never_asked_for_again(
    postgres_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with control_plane(postgres_dsn) as plane:
        for name, body in BAD_BODIES.items():
            response = await plane.post_events(content=body)
            assert response.status_code == 200, name
            verdicts = response.json()
            assert sum(verdicts.values()) == verdicts["quarantined"] >= 1 or name == "deeply nested", name
        assert not await plane.objects()
        kept = await plane.sql("select raw, reason from quarantine")
        assert {b"hello", b"null"} < {row["raw"] for row in kept}
        assert all(row["reason"] for row in kept)
        assert await plane.unaccounted() == {"events": 0, "changes": 0}
        assert 'yurt_notifications_unreadable_total{source="tigris"}' in (await plane.http.get("/metrics")).text
    assert capsys.readouterr().out.count("events not readable") == 1, "once for all of them: each may come without end"


@pytest.mark.parametrize("source", ["tigris", "s3", "gcs", "b2"])
async def test_no_source_refuses_a_body(postgres_dsn: str, source: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        for content in (b"\xe9", b"hello", b'{"Records": [{"a": "\xe9"}]}'):
            bearer = {"authorization": f"Bearer {WEBHOOK}", "content-type": "text/html"}
            response = await plane.http.post(f"/v1/notifications/{source}", content=content, headers=bearer)
            assert (response.status_code, response.json()["quarantined"]) == (200, 1)
            assert (await plane.http.post(f"/v1/notifications/{source}", content=content)).status_code == 401


async def test_an_event_whose_metadata_is_not_utf8_is_read(postgres_dsn: str) -> None:
    record = ceph(key="caf\xe9.jpg")
    record["s3"]["bucket"]["name"] = "inbox"
    body = json.dumps({"Records": [record]}, ensure_ascii=False).encode()
    body = body.replace(b'"eventVersion"', b'"x-amz-meta-title": "Caf\xe9", "eventVersion"')
    assert b"Caf\xe9" in body
    async with control_plane(postgres_dsn) as plane:
        response = await plane.http.post("/v1/notifications/s3", params={"token": WEBHOOK}, content=body)
        assert response.json()["accepted"] == 1
        assert set(await plane.objects()) == {"caf\xe9.jpg"}


CODINGS: dict[str, Callable[[bytes], tuple[bytes, str]]] = {
    "a byte order mark": lambda body: (b"\xef\xbb\xbf" + body, ""),
    "UTF-16": lambda body: (body.decode().encode("utf-16"), ""),
    "UTF-16 without a mark": lambda body: (body.decode().encode("utf-16-le"), ""),
    "gzip": lambda body: (gzip.compress(body), "gzip"),
    "gzip unannounced": lambda body: (gzip.compress(body), ""),
    "gzip taken off": lambda body: (body, "gzip"),
    "gzip in two members": lambda body: (gzip.compress(body[:9]) + gzip.compress(body[9:]), "x-gzip"),
    "gzip and a mark": lambda body: (gzip.compress(b"\xef\xbb\xbf" + body), "GZIP"),
    "deflate": lambda body: (zlib.compress(body), "deflate"),
    "identity": lambda body: (body, "identity"),
}


@pytest.mark.parametrize("name", CODINGS)
async def test_a_body_in_another_coding_is_read(postgres_dsn: str, name: str) -> None:
    content, coding = CODINGS[name](json.dumps({"events": [event("ä.jpg")]}, ensure_ascii=False).encode())
    async with control_plane(postgres_dsn) as plane:
        headers = {"authorization": f"Bearer {WEBHOOK}", "content-encoding": coding}
        response = await plane.http.post("/v1/notifications/tigris", content=content, headers=headers)
        assert response.json()["accepted"] == 1
        assert set(await plane.objects()) == {"ä.jpg"}


async def test_what_a_body_decodes_to_has_the_same_limit(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(server={"body_limit_bytes": 2048})) as plane:
        fits = json.dumps({"events": [event("a.jpg")]}).encode().ljust(2048)
        assert (await plane.post_events(content=gzip.compress(fits))).json()["accepted"] == 1
        for content in (gzip.compress(fits + b" "), gzip.compress(b" " * 1_000_000), gzip.compress(fits) * 2):
            response = await plane.post_events(content=content)
            assert (response.status_code, response.json()["error"]) == (413, "too-large")


async def test_a_coding_that_is_not_read_is_kept_as_it_came(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        headers = {"authorization": f"Bearer {WEBHOOK}", "content-encoding": "br"}
        response = await plane.http.post("/v1/notifications/tigris", content=b"\x0b\x02\x80", headers=headers)
        assert (response.status_code, response.json()["quarantined"]) == (200, 1)
        [row] = await plane.sql("select raw, reason from quarantine")
        assert row["raw"] == b"\x0b\x02\x80"
        assert "'br'" in row["reason"]


async def test_no_events_are_fine_and_many_are_taken(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        response = await plane.post_events()
        assert response.json() == dict.fromkeys(
            ("accepted", "coalesced", "duplicate", "stale", "ignored", "quarantined"), 0
        )
        many = [event(f"{number}.jpg") for number in range(MAX_EVENTS)]
        assert await plane.notify(*many, event("one more.jpg"), {}) == {"accepted": MAX_EVENTS + 1, "quarantined": 1}
        assert len(await plane.objects()) == MAX_EVENTS + 1
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


# ── what becomes of events ───────────────────────────────────────────────────────────────────────────────────────────


async def test_every_event_of_a_request_is_counted_once(postgres_dsn: str) -> None:
    config = configured({"photos": pipeline(suffixes=[".JPG"]), "all": pipeline(outputs="elsewhere")})
    async with control_plane(postgres_dsn, config) as plane:
        first = event("a.jpg")
        assert await plane.notify(first, first, event("a.jpg"), event("b.txt"), event("c.jpg", bucket="other")) == {
            "accepted": 3,  # a.jpg by two pipelines, b.txt by one
            "coalesced": 2,
            "duplicate": 2,
            "ignored": 1,
        }
        assert await plane.notify(
            event("b.txt", eventName="OBJECT_TRANSITIONED"),
            event("b.txt", lastModified="2023-05-15T10:30:00Z"),
            event("c.jpg", eventName="OBJECT_NEWS"),
            event("d.jpg", eventName="OBJECT_DELETED"),
            event("e.jpg", eventName="OBJECT_CREATED_SOMEHOW"),
        ) == {"ignored": 1, "coalesced": 1, "quarantined": 1, "accepted": 4}
        assert await plane.notify(event("b.txt", lastModified="2023-05-15T10:29:59Z")) == {"stale": 1}
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


BAD_EVENTS = {
    "not an object": 1,
    "null": None,
    "without a bucket": {"eventName": "OBJECT_CREATED_PUT", "object": {"key": "a"}},
    "a null object": {"eventName": "OBJECT_CREATED_PUT", "bucket": "inbox", "object": None},
    "without a key": {"eventName": "OBJECT_CREATED_PUT", "bucket": "inbox", "object": {}},
    "negative size": event("a", size=-1),
    "65 bits of size": event("a", size=2**64),
    "64 bits of size": event("a", size=2**63),
    "a key of 1,025 bytes": event("ä" * 512 + "a"),
    "an empty key": event(""),
    "NUL": event("a\0b"),
    "a control character": event("a\x1bb"),
    "dots": event("a/../b"),
    "an unknown name": event("a", eventName="OBJECT_EXPLODED"),
}


async def test_bad_events_are_kept_aside_and_the_rest_of_the_batch_goes_on(postgres_dsn: str) -> None:
    good = [event(f"good {number}.jpg") for number in range(len(BAD_EVENTS))]
    async with control_plane(postgres_dsn) as plane:
        mixed = [one for pair in zip(good, BAD_EVENTS.values(), strict=True) for one in pair]
        assert await plane.notify(*mixed) == {"accepted": len(good), "quarantined": len(BAD_EVENTS)}
        assert set(await plane.objects()) == {f"good {number}.jpg" for number in range(len(good))}
        kept = await plane.sql("select reason, raw from quarantine")
        texts = [json.loads(row["raw"]) for row in kept]
        assert sorted(map(json.dumps, texts)) == sorted(map(json.dumps, BAD_EVENTS.values()))
        assert all(row["reason"] for row in kept)


async def test_sizes_have_63_bits_and_keys_all_characters(postgres_dsn: str) -> None:
    largest = 2**63 - 1
    keys = ["5 TB.jpg", "a+b %41%.jpg", "~'\"\\;--.jpg", "π/😀.jpg", "ä" * 512]
    async with control_plane(postgres_dsn) as plane:
        assert await plane.notify(*(event(key, size=largest) for key in keys)) == {"accepted": len(keys)}
        objects = await plane.objects()
        assert set(objects) == set(keys)
        assert {row["event_size"] for row in objects.values()} == {largest}


# ── one transaction, and a promise ───────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def ledger_held(plane: RunningPlane) -> AsyncIterator[None]:
    """Keep every other session from writing objects meanwhile."""
    connection = await asyncpg.connect(plane.dsn)
    try:
        async with connection.transaction():
            await connection.execute("lock table objects in share row exclusive mode")
            yield
    finally:
        await connection.close()


async def waiting_for_a_lock(plane: RunningPlane) -> bool:
    waiting = await plane.sql(
        "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    return bool(waiting)


async def test_the_answer_comes_only_after_the_commit(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        async with ledger_held(plane):
            request = asyncio.create_task(plane.post_events(event("a.jpg")))
            await until(lambda: waiting_for_a_lock(plane))
            assert not request.done()
            assert not await plane.objects()
        assert (await request).status_code == 200
        assert set(await plane.objects()) == {"a.jpg"}


async def test_a_ledger_that_hangs_is_answered_503_in_time_and_the_events_are_taken_once(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.api.notifications.ANSWER_SECONDS", 0.5)
    writing, waiting = event("writing.jpg"), event("waiting.jpg")
    async with control_plane(postgres_dsn) as plane:
        async with ledger_held(plane):
            first = asyncio.create_task(plane.post_events(writing))
            await until(lambda: waiting_for_a_lock(plane))
            for late in (await plane.post_events(waiting), await first):
                assert (late.status_code, late.json()["error"]) == (503, "deadline")
                assert int(late.headers["retry-after"]) >= 1
        monkeypatch.setattr("webhook.api.notifications.ANSWER_SECONDS", 9.0)
        assert await plane.notify(writing, waiting) == {"duplicate": 2}, "both were written after their responses"
        states = {key: row["state"] for key, row in (await plane.objects()).items()}
        assert states == {"writing.jpg": "pending", "waiting.jpg": "pending"}
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


async def test_requests_that_arrive_together_are_written_in_one_transaction(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        async with ledger_held(plane):
            first = asyncio.create_task(plane.post_events(event("first.jpg")))
            await until(lambda: waiting_for_a_lock(plane))
            others = [asyncio.create_task(plane.post_events(event(f"{number}.jpg"))) for number in range(50)]
            seconds = "yurt_notification_seconds_count"  # nothing was answered, so all that came are waiting

            async def all_came() -> bool:
                return plane.plane.notifications.waiting == len(others)

            await until(all_came)
            assert f"{seconds} " not in (await plane.http.get("/metrics")).text
        responses = await asyncio.gather(first, *others)
        assert [response.json()["accepted"] for response in responses] == [1] * 51
        written = await plane.sql("select xmin::text as transaction, count(*) as rows from objects group by 1")
        assert sorted(row["rows"] for row in written) == [1, 50]


async def test_more_than_the_backlog_is_refused_with_503_and_taken_later(postgres_dsn: str) -> None:
    config = configured(server={"backlog_events": 1000})
    batches = [[event(f"{number}-{row}.jpg") for row in range(400)] for number in range(5)]
    async with control_plane(postgres_dsn, config) as plane:
        async with ledger_held(plane):
            first = asyncio.create_task(plane.post_events(*batches[0]))
            await until(lambda: waiting_for_a_lock(plane))
            others = [asyncio.create_task(plane.post_events(*batch)) for batch in batches[1:]]

            async def some_refused() -> bool:
                return sum(task.done() for task in others) == 2

            await until(some_refused)
        responses = await asyncio.gather(first, *others)
        assert sorted(response.status_code for response in responses) == [200, 200, 200, 503, 503]
        for batch, response in zip(batches, responses, strict=True):
            if response.status_code == 503:
                assert response.json()["error"] == "overloaded"
                assert int(response.headers["retry-after"]) >= 1
                assert await plane.notify(*batch) == {"accepted": 400}
        assert len(await plane.objects()) == 2000


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing(postgres_dsn: str) -> None:
    body = json.dumps({"events": [event("half.jpg")]}).encode()
    head = f"POST /v1/notifications/tigris HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {WEBHOOK}\r\n"
    async with control_plane(postgres_dsn) as plane:
        for framing in (
            b"content-length: %d\r\n\r\n" % (len(body) + 1) + body,
            b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n",  # no last chunk
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", plane.port)
            writer.write(head.encode() + framing)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        assert await plane.notify(event("whole.jpg")) == {"accepted": 1}
        assert set(await plane.objects()) == {"whole.jpg"}


async def test_while_the_ledger_is_away_every_request_is_503_with_retry_after(mortal: PostgresServer) -> None:
    async with serving(mortal.dsn, configured()) as plane:
        await killed(mortal, plane)
        try:
            for _ in range(3):
                response = await plane.post_events(event("a.jpg"))
                assert (response.status_code, response.json()["error"]) == (503, "ledger-unavailable")
                assert int(response.headers["retry-after"]) >= 1
                assert "yurt-pg-" not in response.text  # the socket's path, which is in the DSN
            for path in ("/readyz", "/v1/status"):
                assert (await plane.admin("GET", path)).status_code == 503
            for path in ("/healthz", "/metrics", "/openapi.json"):
                assert (await plane.http.get(path)).status_code == 200
        finally:
            mortal.start()
        await until(plane.ready)
        assert await plane.notify(event("a.jpg")) == {"accepted": 1}


class Sender:
    """Sends events for ever, each request until it is acknowledged."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._choose = random.Random(number)
        self.acknowledged: set[str] = set()
        self.refused = 0

    async def send(self, plane: RunningPlane, over: asyncio.Event) -> None:
        for request in itertools.count():
            keys = [f"{self._number}/{request}/{row}" for row in range(self._choose.randint(1, 20))]
            await self._insist(plane, [event(key) for key in keys])
            self.acknowledged.update(keys)
            if over.is_set():
                return

    async def _insist(self, plane: RunningPlane, events: list[dict[str, object]]) -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                response = await plane.post_events(*events)
                if response.status_code == 200:
                    return
                assert response.status_code == 503, response.text
                self.refused += 1
            await asyncio.sleep(0.05)  # the sender's backoff


async def test_nothing_acknowledged_is_lost_when_postgres_is_killed_under_load(mortal: PostgresServer) -> None:
    """Across two crashes, with senders that repeat what was not acknowledged."""
    senders = [Sender(number) for number in range(8)]

    async def grown(count: Callable[[Sender], int], by: int) -> None:
        target = sum(map(count, senders)) + by

        async def enough() -> bool:
            return sum(map(count, senders)) >= target

        await until(enough, seconds=60)

    async with serving(mortal.dsn, configured()) as plane, asyncio.TaskGroup() as tasks:
        over = asyncio.Event()
        for sender in senders:
            tasks.create_task(sender.send(plane, over))
        for outage_seconds in (0, 20):
            await grown(lambda sender: len(sender.acknowledged), by=200)
            mortal.kill()
            await grown(lambda sender: sender.refused, by=8)
            await asyncio.sleep(outage_seconds)  # the outage's own length: nothing is waited for
            mortal.start()
        await grown(lambda sender: len(sender.acknowledged), by=200)
        over.set()

    async with serving(mortal.dsn, configured()) as plane:
        assert set().union(*(sender.acknowledged for sender in senders)) <= set(await plane.objects())
        assert await plane.unaccounted() == {"events": 0, "changes": 0}

"""The worker protocol over real HTTP: leasing and settling, and that false messages change nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.polling import until
from tests.webhook.long_polls import listening, polling
from tests.webhook.plane import Worker, configured, control_plane, event, killed, pipeline, serving
from tests.webhook.settlements import ETAG, done, failed
from webhook.ledger.postgres import PostgresServer
from webhook.pool_settings import Pool
from workers import protocol

# ── calling home ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_one_time_token_is_good_for_one_instance(postgres_dsn: str) -> None:
    config = configured(pools={"local": Pool(provider="none", slots=3, idle_seconds=10, orphan_seconds=77)})
    async with control_plane(postgres_dsn, config) as plane:
        once = await plane.invite()
        first = await plane.hello(once, "instance-number-1")
        assert first.status_code == 200
        welcome = protocol.Welcome.model_validate_json(first.content)
        assert (welcome.pool, welcome.slots, welcome.idle_seconds, welcome.orphan_seconds) == ("local", 3, None, 77)
        # Its answer was lost: it asks again, and the token that it never saw is worth nothing.
        again = protocol.Welcome.model_validate_json((await plane.hello(once, "instance-number-1")).content)
        assert again.worker == welcome.worker
        assert (await Worker(plane.http, again.worker, again.token).post("leases", {})).status_code == 200
        assert (await Worker(plane.http, welcome.worker, welcome.token).post("leases", {})).status_code == 401
        # Another process with the same one-time token is refused.
        other = await plane.hello(once, "instance-number-2")
        assert (other.status_code, other.json()["error"]) == (401, "unauthorized")
        assert once not in other.text


async def test_hello_is_refused_to_strangers_and_to_the_revoked(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        for stranger in ("x", "x" * 10_000, "Bearer"):
            assert (await plane.hello(stranger)).status_code == 401
        assert (await plane.http.post("/v1/workers/hello", json={"instance": "i" * 16})).status_code == 401
        once = await plane.invite()
        await plane.sql("update workers set state = 'slaying'")
        assert (await plane.hello(once)).status_code == 401
        assert (await plane.hello(await plane.invite(), "too short")).status_code == 422


async def test_a_worker_of_a_pool_that_is_kept_does_not_leave_by_itself(postgres_dsn: str) -> None:
    config = configured(pools={"local": Pool(provider="none", minimum=1, idle_seconds=10)})
    async with control_plane(postgres_dsn, config) as plane:
        once = await plane.invite()
        await plane.sql("update workers set provider = 'local'")
        welcome = protocol.Welcome.model_validate_json((await plane.hello(once)).content)
        assert welcome.idle_seconds == 86_400


# ── leasing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_lease_says_all_that_a_worker_needs(postgres_dsn: str) -> None:
    options = {"sizes": [64], "gps": True}
    more: dict[str, Any] = {"options": options, "timeout_seconds": 20, "lease_seconds": 30, "conditions": "quoted"}
    config = configured({"photos": pipeline(**more)})
    async with control_plane(postgres_dsn, config) as plane:
        worker = await plane.worker()
        modified_at = "2023-05-15T10:30:00+00:00"
        await plane.notify(event("a b.jpg", eTag=f'"{ETAG}"', lastModified=modified_at))
        lease = await worker.lease()
        assert (lease.pipeline, lease.bucket, lease.key, lease.attempt) == ("photos", "inbox", "a b.jpg", 1)
        assert lease.lease_seconds == 30
        assert lease.handler.options == options
        assert lease.handler.limits.wall_seconds == lease.handler.limits.cpu_seconds == 20
        modified = datetime.fromisoformat(modified_at)
        assert lease.expected == protocol.Expected(etag=ETAG, modified=modified, believed=True)
        assert lease.manifest is not None
        assert "/outbox/a%20b.jpg/result.json?X-Amz-Algorithm=" in lease.manifest.url
        assert "/inbox/a%20b.jpg?X-Amz-Algorithm=" in lease.input.url
        assert "X-Amz-Expires=330" in lease.input.url
        assert not lease.input.headers
        await worker.ask(settle=[done(lease)])
        await plane.notify(event("a b.jpg"))
        again = await worker.lease()
        assert again.input.headers == {"if-none-match": f'"{ETAG}"'}
        assert "X-Amz-SignedHeaders=host%3Bif-none-match" in again.input.url
        assert again.token > lease.token


async def test_the_longest_lease_that_there_can_be_has_a_url(postgres_dsn: str) -> None:
    config = configured({"photos": pipeline(conditions="quoted", lease_seconds=7 * 24 * 3600)})
    async with control_plane(postgres_dsn, config) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        lease = await worker.lease()
        assert "X-Amz-Expires=604800" in lease.input.url
        assert len(await worker.uploads(lease, "a.webp")) == 1


async def test_a_long_poll_is_woken_by_a_notification_of_another_replica(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.ledger.wakeups.TICK_SECONDS", 3600)  # the slow tick shall not be what wakes it
    async with control_plane(postgres_dsn) as plane, serving(plane.dsn, configured()) as replica:
        await listening(plane, 2)
        worker = await plane.worker()
        started = time.monotonic()
        poll = asyncio.create_task(worker.ask(wait=30))
        await until(lambda: polling(plane))
        assert not poll.done()
        await replica.notify(event("a.jpg"))
        assert [lease.key for lease in (await poll).leases] == ["a.jpg"]
        assert time.monotonic() - started < 30


async def test_a_long_poll_without_work_ends_when_it_asked_to(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        for wait in (0, 0.05):
            assert await worker.ask(wait=wait) == protocol.LeaseResponse()
        await plane.notify(event("a.jpg"))
        assert await worker.ask(most=0, wait=30) == protocol.LeaseResponse()  # only settles


async def test_a_long_poll_ends_when_the_server_leaves(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:  # so that nothing else rings
        worker = await plane.worker()
        poll = asyncio.create_task(worker.ask(wait=30))
        await until(lambda: polling(plane))
        plane.plane.leases.close()
        assert await asyncio.wait_for(poll, 10) == protocol.LeaseResponse()
        assert (await plane.http.get("/readyz")).status_code == 200


async def test_a_draining_worker_gets_no_lease_and_is_told_to_leave(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        poll = asyncio.create_task(worker.ask(wait=1.5))
        await until(lambda: polling(plane))
        await plane.sql("update workers set state = 'draining'")
        await plane.notify(event("a.jpg"))
        assert await poll == protocol.LeaseResponse(drain=True)  # told in this answer, though it asked before
        assert await worker.ask(wait=30) == protocol.LeaseResponse(drain=True)
        assert (await plane.objects())["a.jpg"]["state"] == "pending"


async def test_a_worker_finishes_what_it_has_while_it_drains(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        lease = await worker.lease()
        await plane.sql("update workers set state = 'draining'")
        assert (await worker.post(f"leases/{lease.id}/heartbeat", {"token": lease.token})).status_code == 200
        assert (await worker.post(f"leases/{lease.id}/complete", done(lease))).status_code == 200


async def test_pipelines_of_a_pool_take_turns(postgres_dsn: str) -> None:
    """Also when calls of another pool's workers come in between, with one call of theirs for each of ours."""
    pools = {"ours": Pool(provider="none"), "theirs": Pool(provider="none")}
    config = configured(
        {
            "long": pipeline("long-queue", pool="ours"),
            "short": pipeline("short-queue", pool="ours"),
            "other": pipeline("other-queue", "other-outbox", pool="theirs"),
        },
        pools=pools,
    )
    async with control_plane(postgres_dsn, config) as plane:
        await plane.notify(*(event(f"{number}", bucket="long-queue") for number in range(20)))
        await plane.notify(*(event(f"{number}", bucket="short-queue") for number in range(3)))
        ours, theirs = await plane.worker("ours"), await plane.worker("theirs")
        served = []
        for _ in range(6):
            served.append((await ours.lease()).pipeline)
            await theirs.ask()
        assert served.count("short") == 3
        assert {lease.pipeline for lease in (await ours.ask(most=3)).leases} == {"long"}
        assert not (await theirs.ask()).leases


async def test_one_request_is_filled_from_several_pipelines(postgres_dsn: str) -> None:
    config = configured({"photos": pipeline(), "more": pipeline("inbox", "elsewhere")})
    async with control_plane(postgres_dsn, config) as plane:
        await plane.notify(event("a.jpg"), event("b.jpg"))
        leases = (await (await plane.worker()).ask(most=64)).leases
        assert sorted((lease.pipeline, lease.key) for lease in leases) == [
            ("more", "a.jpg"), ("more", "b.jpg"), ("photos", "a.jpg"), ("photos", "b.jpg"),
        ]  # fmt: skip
        assert len({lease.token for lease in leases}) == 4


# ── settling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_settling_and_leasing_share_one_round_trip(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:  # the check of deletions would lease what is absent
        worker = await plane.worker()
        await plane.notify(*(event(f"{number}.jpg") for number in range(8)))
        held = (await worker.ask(most=6)).leases
        settle = [
            done(held[0]),
            failed(held[1], retry=False),
            {"outcome": "unchanged", "id": held[2].id, "token": held[2].token},
            done(held[3], token=held[3].token + 1),
            {"outcome": "absent", "id": held[4].id, "token": held[4].token},
            {"outcome": "released", "id": held[5].id, "token": held[5].token},
            done(held[0]),
        ]
        response = await worker.ask(most=2, settle=list(reversed(settle)))
        assert [(item.id, item.token) for item in response.settled] == [(s["id"], s["token"]) for s in reversed(settle)]
        accepted = [item.accepted for item in response.settled]
        assert accepted[1:3] == [True, True]
        assert accepted[3] is False
        assert accepted.count(True) == 5  # of the two that settle the same lease one does
        assert {lease.key for lease in response.leases} <= {"5.jpg", "6.jpg", "7.jpg"}
        states = {key: (row["state"], row["lane"]) for key, row in (await plane.objects()).items()}
        by_key = {lease.key: states[lease.key] for lease in held}
        assert [by_key[lease.key] for lease in held[:5]] == [
            ("done", "work"), ("parked", "work"), ("done", "work"), ("leased", "work"), ("pending", "check"),
        ]  # fmt: skip
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


async def test_complete_and_fail_settle_one_lease_once(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"), event("b.jpg"))
        one, two = (await worker.ask(most=2)).leases
        response = await worker.post(f"leases/{one.id}/complete", done(one))
        assert response.json() == {"id": one.id, "token": one.token, "accepted": True}
        response = await worker.post(f"leases/{two.id}/fail", failed(two, message="no \0 photo", log="\0", retry=False))
        assert response.status_code == 200
        for path, body in (("complete", done(one)), ("fail", failed(two))):
            late = await worker.post(f"leases/{body['id']}/{path}", body)
            assert (late.status_code, late.json()["error"]) == (409, "lease-lost")
        rows = await plane.objects()
        assert {row["state"] for row in rows.values()} == {"done", "parked"}


async def test_only_its_own_token_of_its_own_worker_settles_a_lease(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        mine, other = await plane.worker(), await plane.worker()
        await plane.notify(event("a.jpg"))
        old = await mine.lease()
        await mine.ask(most=0, settle=[{"outcome": "released", "id": old.id, "token": old.token}])
        lease = await mine.lease()
        assert lease.token > old.token
        tries = [
            (mine, lease.model_copy(update={"token": old.token})),
            (mine, lease.model_copy(update={"token": lease.token + 1})),
            (mine, lease.model_copy(update={"token": 2**63 - 1})),
            (other, lease),
        ]
        for worker, claimed in tries:
            path, beat = f"leases/{lease.id}", {"token": claimed.token}
            assert (await worker.post(f"{path}/complete", done(claimed))).status_code == 409
            assert (await worker.post(f"{path}/fail", failed(claimed))).status_code == 409
            assert (await worker.post(f"{path}/heartbeat", beat)).status_code == 409
            assert (await worker.outputs(claimed, "a.webp")).status_code == 409
            assert not (await worker.ask(most=0, settle=[done(claimed)])).settled[0].accepted
        assert (await plane.objects())["a.jpg"]["state"] == "leased"
        assert (await mine.post(f"leases/{lease.id}/complete", done(lease))).status_code == 200


async def test_the_lease_in_the_path_is_the_one_in_the_body(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        lease = await worker.lease()
        response = await worker.post(f"leases/{lease.id + 1}/complete", done(lease))
        assert (response.status_code, response.json()["error"]) == (422, "malformed")
        for id in ("0", "-1", "x", "1.0", "9" * 20, "9" * 5000, "１", str(2**63)):
            for call, body in (("complete", done(lease)), ("heartbeat", {"token": 1})):
                response = await worker.post(f"leases/{id}/{call}", body)
                assert (response.status_code, response.json()["error"]) == (404, "unknown-lease"), id
        assert (await plane.objects())["a.jpg"]["state"] == "leased"


async def test_a_worker_that_names_leases_it_never_had_changes_nothing(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        lease = await worker.lease()
        never = [done(lease, id=id, token=token) for id in (1, 2, 10**12, 2**63 - 1) for token in (1, 2**63 - 1)]
        response = await worker.ask(most=0, settle=never)
        assert [item.accepted for item in response.settled] == [False] * len(never)
        for id in (0, -1, 2**63, 2**64, 1.5, "1x", None):
            for wrong in (done(lease, id=id), done(lease, token=id)):
                assert (await worker.post("leases", {"settle": [wrong]})).status_code == 422, wrong
        assert (await plane.objects())["a.jpg"]["state"] == "leased"


LIES: dict[str, dict[str, Any]] = {
    "NUL in the ETag": {"fetched": {"etag": "a\0b"}},
    "a header in the ETag": {"fetched": {"etag": 'a"\r\nx-header: y'}},
    "an ETag that no header can hold": {"fetched": {"etag": "é"}},
    "NUL in an output's ETag": {"outputs": [{"name": "a", "etag": "\0", "size": 1, "content_type": ""}]},
    "a path as an output's name": {"outputs": [{"name": "../a", "etag": "x", "size": 1, "content_type": ""}]},
    "a moment that is out of range": {"fetched": {"etag": ETAG, "modified": "9999-12-31T23:59:59-10:00"}},
    "a moment before time": {"fetched": {"etag": ETAG, "modified": "0001-01-01T00:00:00+10:00"}},
}


async def test_a_lie_fails_alone_and_never_another_workers_settlement(postgres_dsn: str) -> None:
    """Settlements of all workers are written in one transaction: what PostgreSQL would refuse stays outside."""
    async with control_plane(postgres_dsn) as plane:
        honest, liar = await plane.worker(), await plane.worker()
        for name, lie in LIES.items():
            await plane.notify(event("a.jpg"), event("b.jpg"))
            mine, [its] = await honest.lease(), (await liar.ask()).leases
            responses = await asyncio.gather(
                honest.post(f"leases/{mine.id}/complete", done(mine)),
                liar.post(f"leases/{its.id}/complete", done(its, **lie)),
                liar.post("leases", {"max": 0, "settle": [done(its, **lie)]}),
            )
            assert [response.status_code for response in responses] == [200, 422, 422], name
            await liar.ask(most=0, settle=[done(its)])


async def test_a_last_modified_from_the_future_does_not_make_later_events_stale(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        fetched = {"etag": ETAG, "modified": "2999-01-01T00:00:00Z"}
        await worker.ask(most=0, settle=[done(await worker.lease(), fetched=fetched)])
        assert await plane.notify(event("a.jpg", lastModified=datetime.now(UTC).isoformat())) == {"accepted": 1}
        fetched = {"etag": ETAG, "modified": "2024-01-01T00:00:00"}  # without a zone: HTTP's are in UTC
        await worker.ask(most=0, settle=[done(await worker.lease(), fetched=fetched)])
        assert (await plane.objects())["a.jpg"]["done_modified"] == datetime(2024, 1, 1, tzinfo=UTC)


# ── heartbeats ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_heartbeat_extends_a_lease_and_tells_of_newer_content(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured({"photos": pipeline(lease_seconds=200)})) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        lease = await worker.lease()
        await plane.sql("update objects set deadline = now() + interval '1 minute'")
        response = await worker.post(f"leases/{lease.id}/heartbeat", {"token": lease.token})
        assert response.json() == {"lease_seconds": 200, "superseded": False}
        [row] = await plane.sql("select deadline > now() + interval '2 minutes' as extended from objects")
        assert row["extended"]
        await plane.notify(event("a.jpg"))
        response = await worker.post(f"leases/{lease.id}/heartbeat", {"token": lease.token})
        assert response.json() == {"lease_seconds": 200, "superseded": True}


async def test_a_lease_that_ran_out_is_lost_and_given_to_another(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        slow, quick = await plane.worker(), await plane.worker()
        await plane.notify(event("a.jpg"))
        lost = await slow.lease()
        await plane.sql("update objects set deadline = now() - interval '1 second'")
        [taken] = (await quick.ask(wait=20)).leases
        assert (taken.id, taken.attempt) == (lost.id, 1)  # it may have ended its worker, but nothing shows that it did
        assert (await slow.post(f"leases/{lost.id}/heartbeat", {"token": lost.token})).status_code == 409
        assert (await slow.post(f"leases/{lost.id}/complete", done(lost))).status_code == 409
        assert (await quick.post(f"leases/{taken.id}/complete", done(taken))).status_code == 200


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────────

MARK = "Geheimnis"
"""Must not appear in a response."""

MALFORMED: dict[str, tuple[str, bytes]] = {
    "not JSON": ("leases", MARK.encode()),
    "truncated": ("leases", b'{"max": 1, "wait": "' + MARK.encode()),
    "not UTF-8": ("leases", b'{"max": "\xff' + MARK.encode() + b'"}'),
    "an array": ("leases", json.dumps([MARK]).encode()),
    "deeply nested": ("leases", b'{"settle": ' + b"[" * 100_000),
    "wrong types": ("leases", json.dumps({"max": MARK, "wait": {MARK: MARK}}).encode()),
    "too many": ("leases", b'{"max": 65}'),
    "negative": ("leases", b'{"max": -1}'),
    "too long a wait": ("leases", b'{"wait": 30.1}'),
    "no number": ("leases", b'{"wait": NaN}'),
    "for ever": ("leases", b'{"wait": Infinity}'),
    "too many settled": (
        "leases",
        json.dumps({"settle": [{"outcome": "unchanged", "id": 1, "token": 1}] * 65}).encode(),
    ),
    "an unknown outcome": ("leases", json.dumps({"settle": [{"outcome": MARK * 1000}]}).encode()),
    "no outcome": ("leases", json.dumps({"settle": [{MARK: 1}]}).encode()),
    "an outcome of another call": ("leases/1/complete", b'{"outcome": "failed"}'),
    "unknown steps": (
        "leases/1/complete",
        json.dumps(
            {
                "outcome": "done",
                "id": 1,
                "token": 1,
                "fetched": {"etag": "x"},
                "outputs": [],
                "seconds": {MARK * 999: MARK},
            }
        ).encode(),
    ),
    "a reason with words": (
        "leases/1/fail",
        json.dumps({"outcome": "failed", "id": 1, "token": 1, "reason": MARK, "message": "", "retry": True}).encode(),
    ),
    "no outputs": ("leases/1/outputs", b'{"token": 1, "etag": "x", "outputs": []}'),
    "an output's name": (
        "leases/1/outputs",
        json.dumps(
            {"token": 1, "etag": "x", "outputs": [{"name": f"../{MARK}", "size": 1, "content_type": "a/b"}]}
        ).encode(),
    ),
    "a header in the content type": (
        "leases/1/outputs",
        json.dumps(
            {"token": 1, "etag": "x", "outputs": [{"name": "a", "size": 1, "content_type": f"a/b\r\n{MARK}: c"}]}
        ).encode(),
    ),
    "an empty heartbeat": ("leases/1/heartbeat", b""),
}


async def test_a_malformed_message_is_422_and_never_repeated(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        for name, (path, body) in MALFORMED.items():
            response = await worker.post(path, body)
            assert (response.status_code, response.json()["error"]) == (422, "malformed"), name
            assert MARK.lower() not in response.text.lower(), name
            assert len(response.content) < 2000, name
        assert await worker.ask() == protocol.LeaseResponse()


async def test_a_message_too_large_is_413_and_unknown_fields_are_fine(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        assert (await worker.post("leases", b"{}".ljust((4 << 20) + 1))).status_code == 413
        assert (await worker.post("leases", b"{}".ljust(4 << 20))).status_code == 200
        assert (await worker.post("leases", {"max": 1, "of-a-later-version": [1]})).status_code == 200


# ── trouble ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_while_the_ledger_is_away_workers_are_told_to_come_again(mortal: PostgresServer) -> None:
    async with serving(mortal.dsn, configured()) as plane:
        worker = await plane.worker()
        await plane.notify(event("kept.jpg"))
        lease = await worker.lease()
        await killed(mortal, plane)
        try:
            calls: Mapping[str, object] = {
                "leases": {"settle": [done(lease)]},
                f"leases/{lease.id}/heartbeat": {"token": lease.token},
                f"leases/{lease.id}/complete": done(lease),
                f"leases/{lease.id}/fail": failed(lease),
            }
            for path, body in calls.items():
                response = await worker.post(path, body)
                assert (response.status_code, response.json()["error"]) == (503, "ledger-unavailable"), path
                assert int(response.headers["retry-after"]) >= 1
            assert (await worker.outputs(lease, "a.webp")).status_code == 503
        finally:
            mortal.start()

        async def settled() -> bool:
            return (await worker.post(f"leases/{lease.id}/complete", done(lease))).status_code == 200

        await until(settled)


async def test_a_pipeline_that_was_taken_out_keeps_the_leases_that_run_and_stops_nothing(postgres_dsn: str) -> None:
    both = configured({"photos": pipeline(), "retired": pipeline("attic", "museum")})
    async with control_plane(postgres_dsn, both) as before:
        await before.notify(event("old.jpg", bucket="attic"))
        once = await before.invite()
        welcome = protocol.Welcome.model_validate_json((await before.hello(once)).content)
        lease = await Worker(before.http, welcome.worker, welcome.token).lease()
        async with serving(before.dsn, configured()) as plane:
            worker = replace(Worker(before.http, welcome.worker, welcome.token), http=plane.http)
            assert (await worker.post(f"leases/{lease.id}/heartbeat", {"token": lease.token})).status_code == 200
            await plane.sql("update objects set deadline = now() - interval '1 second'")

            async def taken_back() -> bool:
                return bool((await plane.objects())["old.jpg"]["state"] == "pending")

            await until(taken_back)
            assert (await plane.admin("GET", "/v1/status")).status_code == 200
            await plane.notify(event("new.jpg"))
            assert (await worker.lease()).key == "new.jpg"


# ── trials ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_may_have_ended_a_worker_is_leased_on_trial_before_the_others(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        worker = await plane.worker()
        await plane.notify(*(event(f"{number}.jpg") for number in range(4)))
        one, two = (await worker.ask(most=2)).leases
        assert (one.trial, two.trial) == (False, False)
        report = {"token": one.token, "handling": {"number": 1, "tokens": [one.token]}}
        assert (await worker.post(f"leases/{one.id}/heartbeat", report)).status_code == 200
        await plane.sql("update objects set deadline = now() - interval '1 second' where state = 'leased'")
        assert await plane.plane.services.ledger.reap() == 2
        await plane.sql("update objects set due_at = now() where state = 'pending'")
        ticking = asyncio.create_task(
            plane.plane.services.wakeups.tick(
                plane.plane.services.ledger, lambda: list(plane.plane.services.pipelines.by_id)
            )
        )
        await until(lambda: bool(plane.plane.services.wakeups.trials))
        ticking.cancel()
        [trial] = (await worker.ask(most=3)).leases  # beside it none could begin
        assert (trial.trial, trial.key) == (True, one.key)
        others = (await worker.ask(most=3)).leases
        assert [lease.trial for lease in others] == [False, False, False]
        assert {lease.attempt for lease in (trial, *others)} == {1}  # nothing was charged


async def test_a_report_is_written_before_the_heartbeat_is_answered(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        lease = await worker.lease()
        handling = {"number": 7, "tokens": [lease.token], "alone": True}
        await worker.post(f"leases/{lease.id}/heartbeat", {"token": lease.token, "handling": handling})
        [row] = await plane.sql("select handling, handling_alone, handling_number from workers")
        assert (row["handling"], row["handling_alone"], row["handling_number"]) == ([lease.token], True, 7)

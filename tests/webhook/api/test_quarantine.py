"""What could not be read, as people see it over HTTP, and reading it again."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from tests.webhook.plane import WEBHOOK, RunningPlane, configured, control_plane, event, pipeline
from webhook.events import ObjectEvent, UnreadableEvent
from webhook.ledger.ledger import MAX_RAW_BYTES
from webhook.sources.tigris import Tigris


async def listed(plane: RunningPlane, query: str = "") -> list[dict[str, Any]]:
    response = await plane.admin("GET", f"/v1/quarantine?{query}")
    assert response.status_code == 200, response.text
    return list(response.json()["items"])


async def replay(plane: RunningPlane, **body: Any) -> httpx.Response:
    return await plane.admin("POST", "/v1/quarantine/replay", json=body)


def unknown(key: str) -> dict[str, Any]:
    """An event that today's parser refuses."""
    return event(key, eventName="OBJECT_TELEPORTED")


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later parser, which knows what an object's teleportation is."""
    before = Tigris.event

    def after(self: Tigris, raw: bytes) -> ObjectEvent:
        return before(self, bytes(raw).replace(b"OBJECT_TELEPORTED", b"OBJECT_CREATED_TELEPORTED"))

    monkeypatch.setattr(Tigris, "event", after)


async def test_a_list_and_one_of_it(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        for _ in range(2):
            await plane.notify({"eventName": "x", "bucket": "inbox", "object": {"key": "\x1b[31m"}})
        await plane.notify({"what": "ü"})
        newest, oldest = await listed(plane)
        assert (newest["source"], newest["times"], newest["truncated"]) == ("tigris", 1, False)
        assert oldest["times"] == 2
        assert newest["received_at"] >= oldest["received_at"]
        body = (await plane.admin("GET", f"/v1/quarantine/{newest['id']}")).json()
        assert json.loads(body["raw"]) == {"what": "ü"}
        assert body["raw_base64"] is None
        assert body | {"raw": 0, "raw_base64": 0} == newest | {"raw": 0, "raw_base64": 0}
        assert [row["id"] for row in await listed(plane, f"reason={newest['reason'][:20]}")] == [newest["id"]]
        assert await listed(plane, "source=s3") == []
        assert await listed(plane, "older_seconds=3600") == []
        assert len(await listed(plane, "newer_seconds=3600")) == 2
        assert (await plane.admin("GET", "/v1/status")).json()["quarantined"] == 2


async def test_pages_of_a_list(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.notify(*({"number": number} for number in range(5)))
        seen, after = [], ""
        for _ in range(5):
            body = (await plane.admin("GET", f"/v1/quarantine?limit=2{after}")).json()
            seen += [row["id"] for row in body["items"]]
            if body["next"] is None:
                break
            after = f"&after={body['next']}"
        assert len(set(seen)) == len(seen) == 5


async def test_text_that_is_not_utf8_comes_in_base64(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        [row] = await plane.sql(
            "insert into quarantine (source, reason, raw, digest) values ('tigris', 'no text', $1, sha256($1)) "
            "returning id",
            b"\xff\x00",
        )
        body = (await plane.admin("GET", f"/v1/quarantine/{row['id']}")).json()
        assert body["raw"] is None
        assert base64.b64decode(body["raw_base64"]) == b"\xff\x00"


async def test_what_is_not_in_quarantine_is_not_shown(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        for number in (0, 1, 2**63, "x", "replay"):
            response = await plane.admin("GET", f"/v1/quarantine/{number}")
            assert (response.status_code, response.json()["error"]) == (404, "not-quarantined")


async def test_a_mended_parser_makes_good_what_it_refused(postgres_dsn: str, request: pytest.FixtureRequest) -> None:
    config = configured({"photos": pipeline(), "twice": pipeline("inbox", "elsewhere")})
    async with control_plane(postgres_dsn, config) as plane:
        assert await plane.notify(unknown("a.jpg"), unknown("b.jpg"), {"what": 1}) == {"quarantined": 3}
        request.getfixturevalue("mended")
        tried = (await replay(plane, all=True, dry_run=True)).json()
        assert (tried["replayed"], tried["verdicts"], len(tried["refused"])) == (2, {}, 1)
        assert not await plane.objects()
        body = (await replay(plane, all=True)).json()
        assert body["replayed"] == 2
        assert body["verdicts"] == {"accepted": 4}
        [refused] = body["refused"]
        [left] = await listed(plane)
        assert (left["id"], left["reason"]) == (refused["id"], refused["reason"])
        assert set(await plane.objects()) == {"a.jpg", "b.jpg"}
        assert await plane.unaccounted() == {"events": 0, "changes": 0}
        worker = await plane.worker()
        assert {lease.key for lease in (await worker.ask(most=4, wait=5)).leases} == {"a.jpg", "b.jpg"}


async def test_what_still_cannot_be_read_stays_with_the_new_reason(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.notify(unknown("a.jpg"))
        [before] = await listed(plane)

        def refuse(self: Tigris, raw: bytes) -> ObjectEvent:
            raise UnreadableEvent("the moon\0 is full")

        monkeypatch.setattr(Tigris, "event", refuse)
        body = (await replay(plane, ids=[before["id"]])).json()
        assert body["refused"] == [{"id": before["id"], "reason": "the moon\N{REPLACEMENT CHARACTER} is full"}]
        [after] = await listed(plane)
        assert after == before | {"reason": "the moon\N{REPLACEMENT CHARACTER} is full"}


async def test_a_replayed_event_is_received_anew(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        known = event("a.jpg")
        await plane.notify(known)
        raws = [known, event("b.jpg", bucket="nowhere"), event("c.jpg", eventName="OBJECT_TRANSITIONED")]
        for raw in raws:
            await plane.sql(
                "insert into quarantine (source, reason, raw, digest) values ('tigris', 'then', $1, sha256($1))",
                json.dumps(raw).encode(),
            )
        body = (await replay(plane, reason="the", source="tigris")).json()
        assert body["verdicts"] == {"duplicate": 1, "ignored": 2}
        assert await listed(plane) == []
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


async def test_a_text_that_was_cut_says_so_and_is_not_replayed(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        long = unknown("a.jpg") | {"more": "ü" * MAX_RAW_BYTES}
        body = json.dumps({"events": [long]}, ensure_ascii=False).encode()
        await plane.post_events(content=body, headers={"authorization": f"Bearer {WEBHOOK}"})
        [item] = await listed(plane)
        assert (item["size_bytes"], item["truncated"]) == (MAX_RAW_BYTES, True)
        one = (await plane.admin("GET", f"/v1/quarantine/{item['id']}")).json()
        assert one["raw"].startswith("{")
        replayed = (await replay(plane, all=True)).json()
        assert (replayed["replayed"], replayed["refused"], replayed["truncated"]) == (0, [], [item["id"]])
        assert await listed(plane) == [item]


async def test_a_source_that_is_no_more_refuses_with_a_reason(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.sql(
            "insert into quarantine (source, reason, raw, digest) values ('telex', 'r', '{}', sha256('{}'))"
        )
        [refused] = (await replay(plane, all=True)).json()["refused"]
        assert "no source 'telex'" in refused["reason"]


async def test_pages_of_a_replay_miss_nothing(postgres_dsn: str, request: pytest.FixtureRequest) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.notify(*(unknown(f"{number}.jpg") for number in range(4)), *({"bad": n} for n in range(3)))
        request.getfixturevalue("mended")
        replayed, refused, after = 0, 0, None
        for _ in range(9):
            body = (await replay(plane, all=True, limit=2, after=after)).json()
            replayed, refused = replayed + body["replayed"], refused + len(body["refused"])
            if (after := body["next"]) is None:
                break
        assert (replayed, refused) == (4, 3)


async def test_a_choice_that_says_nothing_or_nonsense_is_refused(postgres_dsn: str) -> None:
    bodies: list[Any] = [{}, {"all": True, "source": "x"}, {"sauce": "x"}, {"ids": [1], "limit": 101}, []]
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.notify(unknown("a.jpg"))
        for body in bodies:
            response = await plane.admin("POST", "/v1/quarantine/replay", json=body)
            assert (response.status_code, response.json()["error"]) == (422, "malformed"), body
        assert len(await listed(plane)) == 1


async def test_the_quarantine_is_behind_the_admin_token(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.notify(unknown("secret.jpg"))
        [item] = await listed(plane)
        calls = [
            ("GET", "/v1/quarantine"),
            ("GET", f"/v1/quarantine/{item['id']}"),
            ("POST", "/v1/quarantine/replay"),
        ]
        for method, path in calls:
            response = await plane.http.request(method, path, json={"all": True})
            assert response.status_code == 401
            assert "secret.jpg" not in response.text
        assert await listed(plane) == [item]


async def test_a_whole_body_is_replayed_event_by_event(postgres_dsn: str, mended: None) -> None:
    """What could be read of it is recorded, and the rest stays."""
    async with control_plane(postgres_dsn, loops=False) as plane:
        body = json.dumps({"events": [unknown("a.jpg"), unknown("b.jpg"), {"what": "else"}]}).encode()
        await plane.sql(
            "insert into quarantine (source, reason, raw, digest) values ('tigris', 'not read', $1, sha256($1))", body
        )
        answer = (await replay(plane, all=True)).json()
        assert (answer["replayed"], answer["verdicts"], answer["refused"]) == (
            1,
            {"accepted": 2, "quarantined": 1},
            [],
        )
        assert set(await plane.objects()) == {"a.jpg", "b.jpg"}
        [left] = await plane.sql("select raw from quarantine")
        assert json.loads(left["raw"]) == {"what": "else"}

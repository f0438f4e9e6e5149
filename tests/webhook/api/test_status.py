"""What people are told, and by which token."""

from __future__ import annotations

from typing import Any

from tests.webhook.plane import ADMIN, WEBHOOK, configured, control_plane, event, pipeline, serving
from tests.webhook.settlements import done, failed
from webhook.pool_settings import Pool


async def test_status_and_invitations_are_behind_the_admin_token(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        for method, path in (("GET", "/v1/status"), ("POST", "/v1/invitations")):
            response = await plane.http.request(method, path, json={"pool": "local"})
            assert (response.status_code, response.json()["error"]) == (401, "unauthorized")
            for token in ("", "wrong", WEBHOOK, worker.token, ADMIN + "x", ADMIN.upper()):
                headers = {"authorization": f"Bearer {token}".strip()}
                response = await plane.http.request(method, path, headers=headers, json={"pool": "local"})
                assert response.status_code == 401
                assert ADMIN not in response.text
        assert (await plane.admin("GET", "/v1/status")).status_code == 200


async def test_without_an_admin_token_they_are_closed_to_everybody(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, yurt_admin_token="") as plane:
        for method, path in (("GET", "/v1/status"), ("POST", "/v1/invitations")):
            for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer x"}):
                raw = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                response = await plane.exchange(
                    f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{raw}\r\n".encode()
                )
                assert response.startswith(b"HTTP/1.1 403 ")
                assert b'"error":"closed"' in response


async def test_status_tells_how_things_stand(postgres_dsn: str) -> None:
    config = configured({"photos": pipeline(), "papers": pipeline("papers", "results", pool="gpu")},
                        pools={"local": Pool(provider="none", limit=7), "gpu": Pool(provider="none")})  # fmt: skip
    async with control_plane(postgres_dsn, config) as plane:
        worker = await plane.worker()
        first = event("1.jpg")
        await plane.notify(first, *(event(f"{number}.jpg") for number in range(2, 6)))
        await plane.notify(first, event("5.jpg"), event("x", bucket="nowhere"), {"what": 1})
        one, two, three = (await worker.ask(most=3)).leases
        parked = failed(two, retry=False, reason="unreadable", message="This is no photo.", log="a traceback")
        await worker.ask(most=0, settle=[done(one), parked])
        assert three.key
        body = (await plane.admin("GET", "/v1/status")).json()
    photos = body["pipelines"]["photos"]
    assert photos["events"] == {"received": 7, "accepted": 5, "duplicate": 1, "coalesced": 1}
    assert photos["changes"] == {"done": 1}
    assert photos["objects"] == {"pending": 2, "leased": 1, "done": 1, "parked": 1}
    assert photos["oldest_due_seconds"] > 0
    assert body["pipelines"]["papers"] == {
        "pool": "gpu", "events": {}, "changes": {}, "objects": {}, "swept": {}, "oldest_due_seconds": 0, "refused": "",
        "unavailable": None, "results_today": 0, "work_today_usd": "0", "usd_per_result": None,
    }  # fmt: skip
    assert body["unrouted"] == {"received": 2, "ignored": 1, "quarantined": 1}
    minting: dict[str, Any] = {
        "minted_by": None,
        "minted": 0,
        "slain": 0,
        "breaker": "closed",
        "frozen": False,
        "failed_starts": 0,
        "last_failure": "",
        "last_boot_log": "",
        "unjailed": None,
        "not_minted": "",
        "spent_today_usd": "0",
        "today_usd": {},
        "budget_usd_per_day": None,
        "usd_per_hour": "0",
        "ahead": {},
    }
    assert body["pools"] == {
        "local": {"limit": 7, "machines": {"ready": 1}, **minting},
        "gpu": {"limit": 20, "machines": {}, **minting},
    }
    [shown] = body["parked"]
    assert shown["parked_at"]
    assert shown | {"parked_at": ""} == {
        "id": two.id, "pipeline": "photos", "bucket": "inbox", "key": two.key, "attempts": 1,
        "reason": "unreadable", "message": "This is no photo.", "parked_at": "",
    }  # fmt: skip
    assert body["unaccounted"] == {"events": 0, "changes": 0}


async def test_only_the_newest_parked_objects_are_shown(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await plane.sql("update workers set slots = 25")  # to hold so many leases
        await plane.notify(*(event(f"{number:02}.jpg") for number in range(25)))
        for lease in (await worker.ask(most=25)).leases:
            await worker.ask(most=0, settle=[failed(lease, retry=False, message=lease.key)])
        body = (await plane.admin("GET", "/v1/status")).json()
        assert len(body["parked"]) == 20
        times = [parked["parked_at"] for parked in body["parked"]]
        assert times == sorted(times, reverse=True)


async def test_a_pipeline_that_was_moved_or_taken_out_is_still_shown_once(postgres_dsn: str) -> None:
    both = configured({"photos": pipeline(), "retired": pipeline("attic", "museum")})
    async with control_plane(postgres_dsn, both) as before:
        await before.notify(event("old.jpg"), event("older.jpg", bucket="attic"))
        await before.sql("update objects set due_at = now() - interval '1 hour'")
        async with serving(before.dsn, configured({"photos": pipeline("moved")})) as plane:
            await plane.notify(event("new.jpg", bucket="moved"))
            body = (await plane.admin("GET", "/v1/status")).json()["pipelines"]
            assert set(body) == {"photos", "retired"}
            assert body["photos"]["objects"] == {"pending": 2}
            assert body["photos"]["oldest_due_seconds"] > 3000
            metrics = (await plane.http.get("/metrics")).text
            assert metrics.count('yurt_oldest_due_seconds{pipeline="photos"}') == 1


async def test_what_waits_for_a_trial_is_shown_as_waiting(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.notify(event("a.jpg"), event("b.jpg"))
        await plane.sql("update objects set lane = 'trial', due_at = now() - interval '1 hour' where key = 'a.jpg'")
        photos = (await plane.admin("GET", "/v1/status")).json()["pipelines"]["photos"]
        assert photos["oldest_due_seconds"] > 3000


async def test_an_invitation_is_good_for_one_worker_and_counts_in_the_pools_limit(postgres_dsn: str) -> None:
    config = configured(pools={"local": Pool(provider="none", limit=2)})
    async with control_plane(postgres_dsn, config) as plane:
        response = await plane.admin("POST", "/v1/invitations", json={"pool": "local"})
        assert response.status_code == 201
        assert response.json()["label"].startswith("yurt-local-")
        assert (await plane.hello(response.json()["token"])).status_code == 200
        await plane.invite()
        response = await plane.admin("POST", "/v1/invitations", json={"pool": "local"})
        assert (response.status_code, response.json()["error"]) == (409, "pool-full")
        assert "2 machines" in response.json()["message"]
        [row] = await plane.sql(
            "select count(*) as rows, count(*) filter (where provider = 'by-hand') as ours from workers"
        )
        assert tuple(row) == (2, 2)


async def test_an_invitation_to_nowhere_is_refused(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        response = await plane.admin("POST", "/v1/invitations", json={"pool": "gpu"})
        assert (response.status_code, response.json()["error"]) == (404, "unknown-pool")
        assert "there are: local" in response.json()["message"]
        bodies: list[object] = [{}, {"pool": 1}, {"pool": "x" * 25}, []]
        for body in bodies:
            assert (await plane.admin("POST", "/v1/invitations", json=body)).status_code == 422
        assert not await plane.sql("select from workers")


JAILS = {
    "photos": pipeline(),
    "trusted": pipeline("trusted", "trusted-out", pool="gpu", sandbox={"mode": "off"}),
    "strict": pipeline("strict", "strict-out", pool="strict", sandbox={"mode": "require"}),
}


async def test_status_counts_workers_that_run_handlers_without_a_jail(postgres_dsn: str) -> None:
    config = configured(JAILS, pools={name: Pool(provider="none") for name in ("local", "gpu", "strict")})

    async def unjailed(pool: str = "local") -> object:
        return (await plane.admin("GET", "/v1/status")).json()["pools"][pool]["unjailed"]

    async with control_plane(postgres_dsn, config, loops=False) as plane:
        await plane.worker()  # as one of an older version, which does not say
        assert await unjailed() is None
        why, token = "an old\0 kernel", await plane.invite("local")
        for name in ("local", "gpu", "strict"):
            assert (await plane.hello(await plane.invite(name), unjailed=why)).status_code == 200
        assert (await plane.hello(token, unjailed=why)).status_code == 200
        assert await unjailed() == {"workers": 2, "why": "an old\N{REPLACEMENT CHARACTER} kernel"}
        assert await unjailed("gpu") is None  # its only pipeline wants no jail
        assert await unjailed("strict") is None  # no worker of its runs a handler without one
        assert (await plane.hello(token)).status_code == 200  # the same process, with another word
        assert await unjailed() == {"workers": 1, "why": "an old\N{REPLACEMENT CHARACTER} kernel"}
        await plane.sql("update workers set state = 'gone'")
        assert await unjailed() is None
        assert (await plane.hello(await plane.invite("local"), unjailed="x" * 201)).status_code == 422


async def test_a_worker_that_comes_back_says_anew_whether_it_jails(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        welcome = (await plane.hello(await plane.invite("local"), returns=True, unjailed="an old kernel")).json()
        assert (await plane.admin("GET", "/v1/status")).json()["pools"]["local"]["unjailed"]["workers"] == 1
        back = (await plane.hello(welcome["credential"], instance="after-its-new-kernel")).json()
        assert back["worker"] == welcome["worker"]
        assert (await plane.admin("GET", "/v1/status")).json()["pools"]["local"]["unjailed"] is None

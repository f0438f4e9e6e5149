"""Requests to services go through to the servers of machines, and what becomes of those that cannot.

So forwarding, exchange, sharing of slots, sockets, orders (service_messages) and refusals are tried
as clients see them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from tests.polling import until
from tests.webhook.plane import ADMIN, DEADLINE_SECONDS, event
from tests.webhook.proxy.serving import services_at, with_services
from tests.webhook.proxy.standin import standing_in
from webhook.pool_settings import Pool
from webhook.proxy import sharing


async def test_a_request_waits_for_a_machine_and_goes_through(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn) as s, standing_in() as server:
        asked = asyncio.create_task(s.ask("POST", "/services/echo/a%2Fb/c?x=1&x=2", content=b"hello"))
        await until(lambda: s.load() == (1, 0))

        async def shown() -> bool:  # once the ledger knows
            status = (await s.plane.admin("GET", "/v1/status")).json()["services"]
            return bool(status == {"echo": {"waiting": 1, "in_flight": 0, "machines": {}}})

        await until(shown)
        metrics = (await s.plane.http.get("/metrics")).text
        assert 'yurt_service_waiting{service="echo"} 1.0' in metrics
        assert 'yurt_service_in_flight{service="echo"} 0.0' in metrics
        await s.serve(server)
        response = await asked
        assert response.status_code == 200
        assert response.json() == {"method": "POST", "target": "/a%2Fb/c?x=1&x=2", "body": "hello"}
        again = await s.ask("GET", "/services/echo")
        assert again.json() == {"method": "GET", "target": "/", "body": ""}
        head = await s.ask("HEAD", "/services/echo/x")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > 0


async def test_headers_are_passed_on_by_the_book(postgres_dsn: str) -> None:
    config = with_services(echo={"hosts": ["echo.localhost"]})
    async with services_at(postgres_dsn, config) as s, standing_in() as server:
        asked = asyncio.create_task(
            s.ask(
                "GET", "/services/echo/x",
                headers={
                    "connection": "keep-alive, x-hop", "x-hop": "1", "te": "trailers", "x-kept": "2",
                    "proxy-authorization": "Basic x", "x-forwarded-for": "6.6.6.6", "forwarded": "for=6.6.6.6",
                    "via": "1.0 first", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "v=1",
                },
            )
        )  # fmt: skip
        await s.serve(server)
        response = await asked
        [(_, _, seen)] = server.requests
        for gone in ("authorization", "x-hop", "te", "proxy-authorization", "connection"):
            assert gone.encode() not in seen, gone
        assert seen[b"x-kept"] == [b"2"]
        assert seen[b"via"] == [b"1.0 first, 1.1 yurt"]
        assert seen[b"x-forwarded-for"] == [b"127.0.0.1"], "a client's word is not believed"
        assert seen[b"x-forwarded-prefix"] == [b"/services/echo"]
        assert seen[b"forwarded"][0].startswith(b"for=127.0.0.1;host=")
        assert seen[b"traceparent"] == [f"00-{'a' * 32}-{'b' * 16}-01".encode()]
        assert seen[b"tracestate"] == [b"v=1"]
        assert seen[b"host"] == [f"127.0.0.1:{s.plane.port}".encode()]
        for gone in ("x-secret-hop", "keep-alive", "set-cookie"):
            assert gone not in response.headers, gone
        assert response.headers["via"] == "1.0 inner, 1.1 yurt"
        assert response.headers["content-security-policy"].startswith("sandbox")
        by_host = await s.ask(
            "GET", "/services/x", headers={"host": "echo.localhost", "yurt-token": ADMIN, "authorization": "Bearer own"}
        )
        assert by_host.json()["target"] == "/services/x"
        assert by_host.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert "content-security-policy" not in by_host.headers
        (_, _, seen) = server.requests[-1]
        assert seen[b"authorization"] == [b"Bearer own"]
        assert b"yurt-token" not in seen
        assert seen[b"traceparent"] != [f"00-{'a' * 32}-{'b' * 16}-01".encode()], "a trace is begun"


async def test_who_may_ask(postgres_dsn: str) -> None:
    config = with_services(echo={}, open={"public": True})
    async with services_at(postgres_dsn, config) as s, standing_in() as server:
        assert (await s.plane.http.get("/services/echo/x")).status_code == 401
        assert (await s.plane.http.get("/services/nothing/x")).status_code == 401, "which there are is not told"
        assert (await s.ask("GET", "/services/nothing/x")).status_code == 404
        other = (await s.plane.admin("POST", "/v1/tokens", json={"name": "a", "scopes": ["service:open"]})).json()
        refused = await s.ask("GET", "/services/echo/x", token=other["token"])
        assert (refused.status_code, refused.json()["error"]) == (403, "scope-missing")
        app = (await s.plane.admin("POST", "/v1/tokens", json={"name": "b", "scopes": ["service:echo"]})).json()
        asked = asyncio.create_task(s.ask("GET", "/services/echo/x", token=app["token"]))
        opened = asyncio.create_task(s.plane.http.get("/services/open/x"))
        await until(lambda: s.load("open") == (1, 0) == s.load("echo"))
        for worker in [await s.machine(), await s.machine()]:
            await s.ready(worker, server, (await s.given(worker)).name)
        assert (await asked).status_code == 200
        assert (await opened).status_code == 200


async def test_events_come_as_they_are_said(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn) as s, standing_in() as server, asyncio.TaskGroup() as group:
        group.create_task(s.serve(server))
        async with s.plane.http.stream("GET", "/services/echo/events", headers=s.headers()) as response:
            chunks = response.aiter_bytes()
            assert b"first" in await anext(chunks)
            server.let_go.set()
            assert b"second" in b"".join([chunk async for chunk in chunks])


async def test_large_bodies_stream_both_ways(postgres_dsn: str) -> None:
    size = 64 << 20

    async def sent() -> object:
        for _ in range(size >> 16):
            yield b"y" * 65_536

    async with services_at(postgres_dsn) as s, standing_in() as server:
        async with asyncio.TaskGroup() as group:
            group.create_task(s.serve(server))
            response = await s.ask("PUT", "/services/echo/sink", content=sent())
        assert (response.status_code, server.received_bytes) == (204, size)
        received = 0
        headers = {**s.headers(), "x-bytes": str(size)}
        async with s.plane.http.stream("GET", "/services/echo/flood", headers=headers) as response:
            async for chunk in response.aiter_bytes():
                received += len(chunk)
        assert received == size


async def test_the_body_is_asked_for_only_when_a_machine_is_there(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn) as s, standing_in() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", s.plane.port)
        writer.write(
            b"POST /services/echo/x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %s\r\nexpect: 100-continue\r\n"
            b"content-length: 5\r\n\r\n" % ADMIN.encode()
        )
        await until(lambda: s.load() == (1, 0))
        await s.serve(server)
        assert (
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_SECONDS) == b"HTTP/1.1 100 Continue\r\n\r\n"
        )
        writer.write(b"hello")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        assert b"expect" not in server.requests[0][2]


async def test_no_machine_gets_more_than_its_concurrency_and_the_least_loaded_is_first(postgres_dsn: str) -> None:
    config = with_services(echo={"concurrency": 2})
    async with services_at(postgres_dsn, config) as s, standing_in() as one, standing_in() as other:
        asked = [asyncio.create_task(s.ask("GET", "/services/echo/wait")) for _ in range(7)]
        await until(lambda: s.load() == (7, 0))
        await s.serve(one)
        await s.serve(other)
        await until(lambda: one.under_way == other.under_way == 2)
        assert s.load() == (3, 4)
        one.let_go.set()
        other.let_go.set()
        assert [response.status_code for response in await asyncio.gather(*asked)] == [200] * 7
        assert (one.most_at_once, other.most_at_once) == (2, 2)


async def test_a_full_queue_and_a_wait_that_runs_out(postgres_dsn: str) -> None:
    config = with_services(echo={"queue": 1, "wait_seconds": 0.5}, none={"queue": 0})
    async with services_at(postgres_dsn, config) as s:
        full = await s.ask("GET", "/services/none/x")
        assert (full.status_code, full.json()["error"]) == (429, "queue-full")
        assert int(full.headers["retry-after"]) > 0
        late = await s.ask("GET", "/services/echo/x")
        assert (late.status_code, late.json()["error"]) == (504, "waited-too-long")
        assert s.load() == (0, 0)


async def test_a_token_has_so_many_requests_at_once(postgres_dsn: str) -> None:
    config = with_services(echo={"token_requests": 1})
    async with services_at(postgres_dsn, config) as s, standing_in() as server:
        body = {"name": "b", "scopes": ["service:echo"]}
        token = (await s.plane.admin("POST", "/v1/tokens", json=body)).json()["token"]
        first = asyncio.create_task(s.ask("GET", "/services/echo/x", token=token))
        await until(lambda: s.load() == (1, 0))
        assert (await s.ask("GET", "/services/echo/x", token=token)).status_code == 429
        await s.serve(server)
        assert (await first).status_code == 200
        assert (await s.ask("GET", "/services/echo/x", token=token)).status_code == 200


async def test_a_client_that_leaves_is_taken_out_of_the_queue_and_its_request_is_cancelled(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn) as s, standing_in() as server:

        async def ask_and_leave(seen: Callable[[], bool]) -> None:
            asked = asyncio.create_task(s.ask("GET", "/services/echo/wait"))
            await until(seen)
            asked.cancel()
            await asyncio.wait({asked})
            await until(lambda: s.load() == (0, 0))

        await ask_and_leave(lambda: s.load() == (1, 0))
        async with asyncio.TaskGroup() as group:
            group.create_task(s.serve(server))
            await ask_and_leave(lambda: server.under_way == 1)
        await until(lambda: server.cancelled == 1)
        assert (await s.ask("GET", "/services/echo/x")).status_code == 200, "its slot is free"


@pytest.mark.parametrize(("method", "sent"), [("GET", 2), ("DELETE", 2), ("POST", 1)])
async def test_a_request_whose_machine_is_lost_is_sent_again_where_that_is_safe(
    postgres_dsn: str, method: str, sent: int
) -> None:
    async with services_at(postgres_dsn) as s, standing_in() as server:
        async with asyncio.TaskGroup() as group:
            group.create_task(s.serve(server))
            response = await s.ask(method, "/services/echo/die")
        assert (response.status_code, response.json()["error"]) == (502, "machine-lost")
        assert len(server.requests) == sent


async def test_a_request_goes_to_another_machine_where_one_is_lost(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn, with_services(echo={"concurrency": 1})) as s, standing_in() as server:
        held = [asyncio.create_task(s.ask("GET", "/services/echo/wait")) for _ in range(2)]
        dead = await s.machine()
        await s.given(dead)
        async with standing_in() as gone:
            pass
        await s.serve(server)
        await s.ready(dead, gone)
        server.let_go.set()
        assert [response.status_code for response in await asyncio.gather(*held)] == [200, 200]


async def test_an_answer_that_breaks_off_does_not_look_complete(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn) as s, standing_in() as server:
        async with asyncio.TaskGroup() as group:
            group.create_task(s.serve(server))
            with pytest.raises(httpx.HTTPError):
                await s.ask("GET", "/services/echo/break")
        nonsense = await s.ask("GET", "/services/echo/nonsense")
        assert (nonsense.status_code, nonsense.json()["error"]) == (502, "server-nonsense")


async def test_an_answer_that_does_not_come_and_one_that_stalls(postgres_dsn: str) -> None:
    config = with_services(echo={"answer_seconds": 0.5, "stall_seconds": 0.5})
    async with services_at(postgres_dsn, config) as s, standing_in() as server:
        async with asyncio.TaskGroup() as group:
            group.create_task(s.serve(server))
            late = await s.ask("GET", "/services/echo/wait")
        assert (late.status_code, late.json()["error"]) == (504, "no-answer")
        with pytest.raises(httpx.HTTPError):
            await s.ask("GET", "/services/echo/events")
        assert s.load() == (0, 0)


async def test_a_body_that_is_too_long_is_refused(postgres_dsn: str) -> None:
    async def sent() -> object:
        for _ in range(3):
            yield b"12345"

    async with services_at(postgres_dsn, with_services(echo={"body_limit_bytes": 10})) as s, standing_in() as server:
        assert (await s.ask("POST", "/services/echo/x", content=b"12345678901")).status_code == 413
        async with asyncio.TaskGroup() as group:
            group.create_task(s.serve(server))
            chunked = await s.ask("POST", "/services/echo/x", content=sent())
        assert chunked.status_code == 413
        assert (await s.ask("POST", "/services/echo/x", content=b"1234567890")).status_code == 200


async def test_a_server_that_fails_is_told_with_the_end_of_its_log(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn) as s:
        asked = asyncio.create_task(s.ask("GET", "/services/echo/x"))
        worker = await s.machine()
        await s.given(worker)
        report = {"state": "failing", "message": "it ended with exit status 1", "log": "Traceback: no GPU"}
        assert (await worker.post("services/echo/report", report)).status_code == 200
        assert (await worker.post("services/other/report", report)).status_code == 404
        response = await asked
        assert (response.status_code, response.json()["error"]) == (503, "no-machine")
        assert "exit status 1" in response.json()["message"]
        assert response.json()["message"].endswith("Traceback: no GPU")


async def test_the_log_of_a_public_services_server_is_for_operators(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn, with_services(open={"public": True})) as s:
        asked = asyncio.create_task(s.plane.http.get("/services/open/x"))
        worker = await s.machine()
        await s.given(worker)
        report = {"state": "failing", "message": "DATABASE_URL=secret", "log": "secret"}
        assert (await worker.post("services/open/report", report)).status_code == 200
        response = await asked
        assert response.status_code == 503
        assert "secret" not in response.text
        assert "yurt services shows why" in response.json()["message"]


async def test_foreign_pages_ask_no_public_service_of_a_control_plane_on_loopback(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn, with_services(open={"public": True})) as s:
        for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
            response = await s.plane.http.get("/services/open/x", headers=headers)
            assert response.status_code == 403
        assert s.load("open") == (0, 0)


@pytest.mark.parametrize("path", ["/304", "/204"])
async def test_an_answer_without_a_body_may_say_how_long_it_would_be(
    postgres_dsn: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with services_at(postgres_dsn) as s, standing_in() as server:
        async with asyncio.TaskGroup() as group:
            group.create_task(s.serve(server))
            response = await s.ask("GET", f"/services/echo{path}")
        assert (response.status_code, response.content) == (int(path[1:]), b"")
        assert (await s.ask("GET", "/services/echo/x")).status_code == 200
    assert "fault" not in capsys.readouterr().out


async def test_no_machine_to_be_had_is_told_with_the_reason(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "REASON_SECONDS", 0.1)
    config = with_services({"closed": Pool(provider="none", limit=0)}, echo={}, closed={"pool": "closed"})
    async with services_at(postgres_dsn, config) as s:
        response = await s.ask("GET", "/services/closed/x")
        assert (response.status_code, response.json()["error"]) == (503, "no-machine")
        asked = asyncio.create_task(s.ask("GET", "/services/echo/x"))

        async def answered() -> bool:  # the control plane reports on the pool, too
            await s.plane.sql(
                "insert into pool_reports (pool, breaker, frozen, failed_starts, last_failure, not_minted) "
                "values ('local', 'closed', false, 0, '', 'the budget is spent') "
                "on conflict (pool) do update set not_minted = excluded.not_minted"
            )
            return asked.done()

        await until(answered)
        response = await asked
        assert response.status_code == 503
        assert "the budget is spent" in response.json()["message"]


async def test_requests_are_counted_by_the_hour_for_what_pools_learn(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "BEAT_SECONDS", 0.05)
    async with services_at(postgres_dsn, with_services(echo={})) as s, standing_in() as server:
        asked = [asyncio.create_task(s.ask("GET", "/services/echo/a")) for _ in range(3)]
        await s.serve(server)
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 3

        async def counted() -> bool:
            rows = await s.plane.sql("select service, sum(requests) as requests from service_arrivals group by 1")
            return {row["service"]: row["requests"] for row in rows} == {"echo": 3}

        await until(counted)


async def test_a_machine_that_serves_gets_no_objects(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn, with_services(echo={"idle_seconds": 1_000})) as s, standing_in() as server:
        async with asyncio.TaskGroup() as group:
            group.create_task(s.ask("GET", "/services/echo/x"))
            worker = await s.serve(server)
        await s.plane.notify(event("a.jpg"))
        assert (await worker.ask()).leases == []
        assert len((await (await s.machine()).ask()).leases) == 1


async def test_a_long_poll_ends_when_its_worker_has_orders(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn) as s:
        worker = await s.machine()
        poll = asyncio.create_task(worker.post("leases", {"max": 1, "wait": 20}))
        await until(lambda: s.plane.services.wakeups.waiting == 1)
        asked = asyncio.create_task(s.ask("GET", "/services/echo/x"))
        orders = (await asyncio.wait_for(poll, 10)).json()["services"]
        assert [order["name"] for order in orders["orders"]] == ["echo"]
        seen = {"max": 1, "wait": 0, "services_seen": orders["digest"]}
        assert (await worker.post("leases", seen)).json()["services"] is None
        asked.cancel()

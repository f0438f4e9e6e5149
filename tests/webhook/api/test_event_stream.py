"""Server-sent events over HTTP: who is told what, in order and without a gap, across replicas and reconnections.

What a credential may read is decided in one place, `readers`.
"""

from __future__ import annotations

import asyncio
import socket

from tests.polling import until
from tests.webhook.apps import App, app_of, listening, settle
from tests.webhook.plane import RunningPlane, configured, control_plane, pipeline, serving

TWO = configured(
    {"photos": pipeline(conditions="quoted"), "papers": pipeline("paperbox", "results", conditions="quoted")}
)


async def test_an_app_is_told_of_what_it_may_read(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, TWO) as plane:
        photos, both = await app_of(plane, "read:photos"), await app_of(plane, "read:*")
        async with (
            listening(photos) as of_photos,
            listening(both) as of_both,
            listening(both, prefix="a/") as below,
            listening(both, pipeline="papers") as of_papers,
        ):
            await settle(plane, "a/1.jpg", "b/2.jpg")
            await settle(plane, "p.pdf", bucket="paperbox")
            await settle(plane, "a/4.jpg")
            assert await of_photos.keys(3) == ["a/1.jpg", "b/2.jpg", "a/4.jpg"]
            assert await of_both.keys(4) == ["a/1.jpg", "b/2.jpg", "p.pdf", "a/4.jpg"]
            assert await below.keys(2) == ["a/1.jpg", "a/4.jpg"]
            told = await of_papers.next()
            assert told.name == "settled"
            assert {name: told.data[name] for name in ("pipeline", "key", "state", "etag")} == {
                "pipeline": "papers", "key": "p.pdf", "state": "done", "etag": "e",
            }  # fmt: skip


async def test_who_comes_back_to_another_replica_gets_each_event_once(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn) as plane,
        serving(plane.dsn, plane.services.config) as other,
    ):
        app = await app_of(plane)
        async with listening(app) as stream:
            await settle(plane, "0.jpg", "1.jpg")
            assert await stream.keys(1) == ["0.jpg"]
            last = stream.last_id
        await settle(other, "2.jpg", "3.jpg")
        async with listening(App(other.http, app.secret), after=last) as stream:
            assert await stream.keys(3) == ["1.jpg", "2.jpg", "3.jpg"]
            await settle(plane, "4.jpg")
            assert await stream.keys(1) == ["4.jpg"]
        async with listening(app, after=stream.last_id) as stream:
            await settle(plane, "5.jpg")
            assert await stream.keys(1) == ["5.jpg"]


async def test_reconnecting_all_the_time_skips_and_repeats_nothing(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        app = await app_of(plane)
        async with listening(app) as stream:
            last = stream.last_id
        settling = asyncio.create_task(settle(plane, *(f"{number % 3}.jpg" for number in range(30))))
        seen: list[int] = []
        while len(seen) < 30:
            async with listening(app, after=last) as stream:
                seen += [(await stream.next()).id for _ in range(min(2, 30 - len(seen)))]
                last = stream.last_id
        await settling
        assert seen == list(range(seen[0], seen[0] + 30))


async def test_what_was_pruned_is_told_as_a_gap(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        app = await app_of(plane)
        await settle(plane, "0.jpg", "1.jpg", "2.jpg")
        await plane.services.settles.number()
        await plane.sql("update settles set settled_at = now() - interval '9 days' where position < 3")
        await plane.services.ledger.fetch("prune_settles", 1000, 3)
        for after in (1, 99):  # 99: of another ledger, or of one that was restored
            async with listening(app, after=after) as stream:
                told = await stream.next()
                assert (told.name, told.id) == ("gap", 3)
                await settle(plane, f"after-{after}.jpg")
                assert await stream.keys(1) == [f"after-{after}.jpg"]
                await plane.sql("delete from settles where position > 3")
                await plane.sql("update settle_numbering set last = 3")
                plane.services.settles.wake()
            await closed(plane)
        async with listening(app, after=2) as stream:
            assert await stream.keys(1) == ["2.jpg"]


async def closed(plane: RunningPlane) -> None:
    async def gone() -> bool:
        return plane.plane.events.listeners == 0

    await until(gone)


MANY = """
insert into settles (object_id, pipeline_id, key, state, changed, message, settled_at)
select n, $1, n || '.jpg', 'parked', true, repeat('x', 4000), now() from generate_series(1, 4000) as n
"""


async def test_a_listener_that_does_not_read_is_dropped(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        app = await app_of(plane)
        with socket.create_connection(("127.0.0.1", plane.port)) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.sendall(
                b"GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n\r\n" % app.secret.encode()
            )

            async def listeners(number: int) -> bool:
                return plane.plane.events.listeners == number

            await until(lambda: listeners(1))
            [row] = await plane.sql("select id from pipelines")
            await plane.sql(MANY, row["id"])
            plane.services.settles.wake()
            await until(lambda: listeners(0))
        async with listening(app, after=0) as quick:
            assert await quick.keys(4000) == [f"{n}.jpg" for n in range(1, 4001)]


async def test_streams_end_when_the_replica_leaves_and_when_the_listener_does(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        app = await app_of(plane)
        async with listening(app), listening(app) as stream:
            plane.plane.events.close()
            await stream.ended()
        await closed(plane)
        response = await app.call("GET", "/v1/events")
        assert (response.status_code, response.json()["error"]) == (503, "leaving")


async def test_readers_without_the_right_may_not_listen(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, TWO, loops=False) as plane:
        photos, service = await app_of(plane, "read:photos"), await app_of(plane, "service:a", "upload:photos")

        async def refusal(app: App, query: str = "", **headers: str) -> tuple[int, str]:
            response = await app.call("GET", f"/v1/events{query}", headers=headers)
            return response.status_code, response.json()["error"]

        assert await refusal(photos, "?pipeline=papers") == (403, "scope-missing")
        assert await refusal(service) == (403, "scope-missing")
        assert await refusal(App(plane.http, "nonsense")) == (401, "unauthorized")
        assert await refusal(App(plane.http, "x"), "?ticket=nonsense") == (401, "unauthorized")
        assert await refusal(photos, "?since=1") == (422, "malformed")
        for wrong in ("x", "-1", "9" * 30, "1.5"):
            assert await refusal(photos, **{"last-event-id": wrong}) == (422, "malformed")
        everything = await app_of(plane, "read:*")
        assert await refusal(everything, "?pipeline=nowhere") == (404, "unknown-pipeline")

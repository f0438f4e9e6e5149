"""Views: empty, with rows, by pages and filters, and while the ledger is away."""

from __future__ import annotations

import json

import pytest

from tests.webhook.ordered_machines import intended
from tests.webhook.page.visits import parked, visiting
from tests.webhook.plane import configured, control_plane, killed, pipeline, serving
from webhook.ledger.machines import ProviderReport, Stranger
from webhook.ledger.postgres import PostgresServer

VIEWS = (
    "/", "/objects", "/parked", "/quarantine", "/machines", "/services", "/definitions", "/callbacks", "/tokens",
    "/costs", "/sweeps",
)  # fmt: skip


async def test_every_view_says_what_it_is_when_there_is_nothing(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        for path, said in (
            ("/", "No results yet"), ("/", "No machine runs"), ("/objects", "No object matches"),
            ("/parked", "Nothing is parked"), ("/quarantine", "The quarantine is empty"),
            ("/machines", "No machine runs"), ("/costs", "Nothing was spent"), ("/sweeps", "No sweep yet"),
            ("/services", "No service is defined"),
        ):  # fmt: skip
            assert said in await visitor.page(path), path


async def test_parked_objects_by_pages(postgres_dsn: str) -> None:
    config = configured({"photos": pipeline(conditions="quoted", attempts=1)})
    async with control_plane(postgres_dsn, config, loops=False) as plane, visiting(plane) as visitor:
        await parked(plane, *(f"{number:03}.jpg" for number in range(50)))
        await parked(plane, "newest.jpg")
        first = await visitor.page("/parked", pipeline="", reason="")
        assert "newest.jpg" in first
        assert first.count('name="ids"') == 50
        following = first.partition("after=")[2].partition('"')[0]
        second = await visitor.page(f"/parked?after={following}")
        assert second.count('name="ids"') == 1
        assert "yurt parked list --reason unreadable" in await visitor.page("/parked", reason="unreadable")
        assert "Nothing parked matches" in await visitor.page("/parked", reason="other")


@pytest.mark.parametrize(
    "path",
    [
        "/parked?limit=x&nonsense=1",
        "/parked?after=x",
        "/machines?state=lost",
        "/costs?since=tomorrow",
        "/sweeps?before=-1",
        "/objects?verdict=perhaps",
        "/callbacks?state=lost",
        "/tokens?before=x",
        "/definitions/captions?before=0",
    ],
)
async def test_a_query_that_cannot_be_read_is_said_in_words(postgres_dsn: str, path: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        response = await visitor.get(path)
        assert response.status_code == 422
        assert "That could not be read" in response.text


async def test_an_address_shows_no_text_of_its_own(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        assert "Your account" not in await visitor.page("/parked", done="Your account is blocked", n="1")
        assert "1,234 will be processed again." in await visitor.page("/parked", done="redriven", n="1234")
        assert "9" * 20 not in await visitor.page("/parked", done="redriven", n="9" * 20)


async def test_what_is_not_there_is_not_found(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        for path in (
            "/parked/1", "/parked/x", "/quarantine/1", "/machines/1", "/machines/99999999999999999999",
            "/object?pipeline=photos&key=a.jpg", "/object?pipeline=other&key=a.jpg", "/object",
            "/objects?pipeline=other",
        ):  # fmt: skip
            assert (await visitor.get(path)).status_code == 404, path


async def test_while_the_ledger_is_away_the_page_says_so(mortal: PostgresServer) -> None:
    async with serving(mortal.dsn, configured(), loops=False) as plane, visiting(plane) as visitor:
        await visitor.page("/")
        await killed(mortal, plane)
        for path in VIEWS:
            response = await visitor.get(path)
            assert response.status_code == 503, path
            assert "Not now" in response.text
            assert response.headers["retry-after"]


async def test_budgets_weights_that_load_and_machines_of_another_installation(postgres_dsn: str) -> None:
    config = configured(server={"budget_usd_per_day": 5})
    async with control_plane(postgres_dsn, config, loops=False) as plane, visiting(plane) as visitor:
        machine = await intended(plane)
        loading = {"phase": "weights", "model": "sdxl", "done_bytes": 61, "total_bytes": 100}
        loading["bytes_per_second"] = 480_000_000
        await plane.sql(
            "update workers set state = 'ready', loading = $1::text::jsonb, loading_at = yurt_now()",
            json.dumps(loading),
        )
        await plane.services.fleet.note_strangers("local", [Stranger("yurt-x-1", "r-9")])
        await plane.services.fleet.report({}, {"local": ProviderReport()})
        await plane.sql(
            "insert into spending (day, pool, provider, phase, pipeline, usd)"
            " values ((yurt_now() at time zone 'utc')::date, 'local', 'local', 'idle', '', 1.25)"
        )
        assert 'value="25"' in await visitor.page("/")
        assert "of $5.00" in await visitor.page("/")
        text = await visitor.page("/machines")
        assert "fetches sdxl" in text
        assert 'max="100" value="61"' in text
        assert "yurt machines slay yurt-x-1" in text
        assert "480.0 MB/s" in await visitor.page(f"/machines/{machine.id}")
        assert "Log of machine" in await visitor.page(f"/machines/{machine.id}/log")
        assert "idle for" not in text
        assert '<rect class="idle"' in await visitor.page("/costs")

"""``watch()`` and ``result()`` in a real browser: one stream, what was missed, and a ticket that is none."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.polling import until
from tests.webhook.javascript.photo_app import PhotoApp
from tests.webhook.page.chromium import line_to, needs_chromium

pytestmark = [needs_chromium, pytest.mark.slow]

WATCH = """([ticket, url]) => {
  window.seen = [];
  const options = {
    ticket, url, onsync: () => seen.push("sync"), onevent: (event) => seen.push(event.key),
    onerror: (error) => seen.push(error.code),
  };
  window.stops = [yurt.watch(options), yurt.watch(options)];
}"""


async def seen(page: Page, *expected: str) -> None:
    """Wait until the listeners have been called so."""
    await page.wait_for_function("(expected) => JSON.stringify(seen) === expected", arg=_json(expected))


def _json(words: tuple[str, ...]) -> str:
    return "[" + ",".join(f'"{word}"' for word in words) + "]"


async def test_a_page_has_one_stream_and_misses_nothing(app: PhotoApp) -> None:
    browser = await app.token.ticket(uploads=2)
    keys = [(await browser.upload(name="a.jpg", size=1))["key"] for _ in range(2)]
    async with line_to(app.plane) as line, app.visited(connect_to=line.url) as page:
        await page.evaluate(WATCH, [browser.secret, line.url])
        await seen(page, "sync", "sync")
        assert app.plane.plane.events.listeners == 1
        await app.publish(await app.leased(keys[0]))
        await seen(page, "sync", "sync", keys[0], keys[0])
        line.sever()
        await app.publish(await app.leased(keys[1]))
        line.cut = False
        await seen(page, "sync", "sync", keys[0], keys[0], keys[1], keys[1])
        await page.evaluate("stops.forEach((stop) => stop())")
        await until(lambda: app.plane.plane.events.listeners == 0)


async def test_a_browser_that_slept_connects_anew(app: PhotoApp) -> None:
    async with app.visited() as page:
        await page.clock.install()
        await page.evaluate(WATCH, [await app.ticket(), app.plane.url])
        await seen(page, "sync", "sync")
        async with page.expect_request("**/v1/events") as request:
            await page.clock.fast_forward(3_600_000)
        assert (await (await request.value).all_headers())["last-event-id"].isdecimal()


async def test_a_page_that_missed_too_much_is_told_to_read_again(app: PhotoApp) -> None:
    ticket = await app.ticket()
    async with line_to(app.plane) as line, app.visited(connect_to=line.url) as page:
        await page.evaluate(WATCH, [ticket, line.url])
        await seen(page, "sync", "sync")
        line.sever()
        await app.plane.sql("update settle_numbering set pruned = last + 1")
        line.cut = False
        await seen(page, "sync", "sync", "sync", "sync")
        await app.plane.sql("update settle_numbering set pruned = 0")


async def test_a_ticket_that_is_none_ends_the_stream(app: PhotoApp) -> None:
    async with app.visited() as page:
        await page.evaluate(WATCH, ["yurt_ticket_" + "0" * 49, app.plane.url])
        await seen(page, "unauthorized", "unauthorized")


async def test_a_result_is_waited_for_before_its_first_event(app: PhotoApp) -> None:
    browser = await app.token.ticket()
    key = (await browser.upload(name="ü & <b>.jpg", size=1))["key"]
    async with app.visited() as page:
        arguments = {"pipeline": "photos", "key": key, "ticket": browser.secret}
        await page.evaluate("(options) => { window.waited = yurt.result(options); }", arguments)
        await until(lambda: app.plane.plane.events.listeners == 1)
        await app.publish(await app.leased(key))
        report = await page.evaluate("waited")
        assert (report["key"], report["state"], report["result"]["labels"]["width"]) == (key, "done", 6_000)
        assert (await page.evaluate("(options) => yurt.result(options)", arguments))["version"] == report["version"]
        await until(lambda: app.plane.plane.events.listeners == 0)

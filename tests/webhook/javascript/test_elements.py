"""The elements in a real browser, on a page with a strict policy: upload, placeholder, thumbnail, refusal, failures."""

from __future__ import annotations

from typing import Any

import pytest
import pyvips
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Page, Route, expect

from infra.demo.placeholder import placeholder_png
from tests.polling import until
from tests.webhook.javascript.photo_app import YELLOW, PhotoApp, events_of, picture, placeholder
from tests.webhook.page.chromium import needs_chromium

pytestmark = [needs_chromium, pytest.mark.slow]

UPLOAD = '<yurt-upload ticket-url="/ticket" accept="image/*" multiple></yurt-upload>'


def photo(name: str) -> Any:
    """A photo, as a file chooser takes it."""
    return {"name": name, "mimeType": "image/png", "buffer": bytes(picture().pngsave_buffer())}


async def choose(page: Page, *names: str) -> None:
    """Choose files by keyboard."""
    async with page.expect_file_chooser() as chooser:
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
    assert (await chooser.value).is_multiple()
    await (await chooser.value).set_files([photo(name) for name in names])


async def colours(canvas: Locator) -> list[list[int]]:
    """Red, green and blue of the pixel above and the one below."""
    return list(
        await canvas.evaluate(
            """(canvas) => [0, canvas.height - 1].map((row) =>
                [...canvas.getContext("2d").getImageData(0, row, 1, 1).data.slice(0, 3)])"""
        )
    )


# ── uploading ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_chosen_photos_are_uploaded_and_followed(app: PhotoApp) -> None:
    app.server.tickets = [await app.ticket(uploads=1), await app.ticket(uploads=10)]
    async with app.visited(UPLOAD) as page:
        await choose(page, "a.png", "b & <b>.png")
        rows = page.locator("yurt-upload li")
        await expect(rows.get_by_text("is processed")).to_have_count(2)
        first, second = await app.uploaded(2)
        events = await events_of(page, 2)
        assert {event["name"] for event in events} == {"yurt-upload"}
        assert {event["key"] for event in events} == {first, second}
        assert len({event["ticket"] for event in events}) == 2, "the first ticket was used up"
        assert len(app.server.asked) == 2
        await app.publish(await app.leased(first))
        await app.publish(await app.leased(second), verdict="refused")
        results = (await events_of(page, 4))[2:]
        assert [(event["name"], event["verdict"]) for event in results] == [
            ("yurt-result", None), ("yurt-result", "refused"),
        ]  # fmt: skip
        await expect(rows.get_by_text("This photo was refused")).to_be_visible()
        assert {await row.get_attribute("data-state") for row in await rows.all()} == {"done", "refused"}
        assert (await Axe().run(page)).response["violations"] == []


async def test_files_that_cannot_be_uploaded_say_why(app: PhotoApp) -> None:
    app.server.tickets = [await app.ticket(max_bytes=10)]
    async with app.visited(UPLOAD) as page:
        await page.evaluate(
            """() => document.querySelector("yurt-upload").add([
                new File(["x"], "a.txt", { type: "text/plain" }),
                new File(["x".repeat(11)], "b.png", { type: "image/png" })])"""
        )
        rows = page.locator("yurt-upload li")
        await expect(rows.nth(0)).to_contain_text("This type of file is not taken here.")
        await expect(rows.nth(1)).to_contain_text("this ticket allows files of 10 bytes at most")
        assert [(event["name"], event["code"]) for event in await events_of(page, 2)] == [
            ("yurt-error", "type-not-allowed"), ("yurt-error", "too-large"),
        ]  # fmt: skip
        app.server.tickets = []
        await page.evaluate(
            """() => { const other = document.createElement("yurt-upload"); document.body.append(other);
                other.add([new File(["x"], "c.png")]); }"""
        )
        await expect(page.get_by_text("Your album is full.", exact=True)).to_be_visible()
        assert app.inputs() == {}


async def test_an_expired_ticket_is_replaced(app: PhotoApp) -> None:
    expired = await app.ticket()
    await app.plane.sql("update upload_tickets set expires_at = now() - interval '1 second'")
    app.server.tickets = [expired, await app.ticket()]
    async with app.visited(UPLOAD) as page:
        await choose(page, "a.png")
        await expect(page.locator("yurt-upload li")).to_contain_text("is processed")
        assert len(app.server.asked) == 2


async def test_a_dropped_file_is_cancelled(app: PhotoApp) -> None:
    async def hold(route: Route) -> None:
        del route

    app.server.tickets = [await app.ticket()]
    async with app.visited(UPLOAD) as page:
        await page.route(f"{app.buckets.store.endpoint}/**", hold)
        await page.evaluate(
            """() => {
                const data = new DataTransfer();
                data.items.add(new File(["x"], "a.png", { type: "image/png" }));
                const drop = document.querySelector("yurt-upload").shadowRoot.querySelector("[part=drop]");
                drop.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
            }"""
        )
        async with page.expect_request(f"{app.buckets.store.endpoint}/**"):
            pass
        async with page.expect_event("requestfailed"):  # else what is held may go on once nothing holds it
            await page.get_by_role("button", name="Cancel: a.png").click()
        row = page.locator("yurt-upload li")
        await expect(row).to_have_attribute("data-state", "cancelled")
        await page.unroute_all(behavior="ignoreErrors")
        assert app.inputs() == {}
        assert await page.evaluate("told") == []


# ── showing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_photo_has_its_placeholder_and_then_its_thumbnail(app: PhotoApp) -> None:
    browser = await app.token.ticket()
    key = (await browser.upload(name="a.png", size=1))["key"]
    lease = await app.leased(key)
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    async with app.visited(
        f'<yurt-image pipeline="photos" key="{key}" ticket="{browser.secret}" sizes="30px"></yurt-image>'
    ) as page:
        shown = page.locator("yurt-image")
        await expect(shown).to_have_attribute("state", "waiting")
        await page.route("**/*.webp*", keep)
        await until(lambda: app.plane.plane.events.listeners == 1)
        await app.publish(lease, checks=[{"name": "scene", "labels": [{"label": "beach", "score": 1}]}])
        await expect(shown).to_have_attribute("state", "done")
        canvas, image = shown.locator("canvas"), shown.locator("img")
        await expect(canvas).to_be_visible()
        above, below = await colours(canvas)
        assert above[0] > above[2] + 100
        assert below[2] > below[0] + 100
        await until(lambda: held)
        assert "/40.webp" in held[0].request.url, "the smallest that is large enough"
        await held[0].continue_()
        await expect(canvas).to_be_hidden()
        await expect(image).to_be_visible()
        await expect(image).to_have_attribute("alt", "beach")
        box = await image.bounding_box()
        assert box is not None
        assert box["width"] / box["height"] == pytest.approx(1.5, abs=0.05)
        assert [event["name"] for event in await events_of(page, 1)] == ["yurt-result"]
        assert (await Axe().run(page)).response["violations"] == []


async def test_a_gallery_shows_objects_that_the_app_knows(app: PhotoApp) -> None:
    keys = ["done.png", "refused.png", "parked.png"]
    done, refused, parked = [await app.leased(key) for key in keys]
    await app.publish(done)
    await app.publish(refused, verdict="refused")
    await app.park(parked, "This is no photo <b>.")
    known = [(await app.token.call("GET", f"/v1/objects/photos/{key}")).json() for key in keys]
    async with app.visited() as page:
        await page.evaluate(
            """(known) => known.forEach((object) => {
                const shown = document.createElement("yurt-image");
                shown.setAttribute("object", JSON.stringify(object));
                shown.setAttribute("alt", object.key);
                document.body.append(shown);
            })""",
            known,
        )
        shown = page.locator("yurt-image")
        await expect(shown.nth(0).get_by_alt_text("done.png")).to_be_visible()
        await expect(shown.nth(0)).to_have_attribute("state", "done")
        await expect(shown.nth(1).locator("[part=shield]")).to_be_visible()
        await expect(shown.nth(1)).to_have_attribute("state", "refused")
        await expect(shown.nth(2)).to_have_text("This is no photo <b>.")
        await expect(page.locator("yurt-image img:visible")).to_have_count(1)
        assert app.plane.plane.events.listeners == 0, "there is nothing to wait for"


async def test_a_url_that_has_expired_is_replaced_with_a_ticket(app: PhotoApp) -> None:
    browser = await app.token.ticket()
    key = (await browser.upload(name="a.png", size=1))["key"]
    await app.publish(await app.leased(key))
    known = (await browser.call("GET", f"/v1/objects/photos/{key}")).json()
    for file in known["result"]["files"]:
        file["url"] = file["url"].replace("Signature=", "Signature=0")
    show = """([object, ticket]) => {
        const shown = document.createElement("yurt-image");
        if (ticket) shown.setAttribute("ticket", ticket);
        Object.assign(shown, { object });
        document.body.append(shown);
    }"""
    async with app.visited() as page:
        await page.evaluate(show, [known, browser.secret])
        await expect(page.locator("yurt-image img")).to_be_visible()
        assert [event["name"] for event in await events_of(page, 1)] == ["yurt-result"]
        await page.evaluate(show, [known, ""])
        await expect(page.locator("yurt-image").nth(1)).to_have_attribute("state", "failed")
        assert [event["name"] for event in await events_of(page, 2)] == ["yurt-result", "yurt-error"]


async def test_a_chosen_file_is_its_own_placeholder(app: PhotoApp) -> None:
    async with app.visited("<yurt-image alt=''></yurt-image>") as page:
        await page.evaluate(
            """(bytes) => { document.querySelector("yurt-image").file = new Blob([new Uint8Array(bytes)]); }""",
            list(photo("a.png")["buffer"]),
        )
        canvas = page.locator("yurt-image canvas")
        await expect(canvas).to_be_visible()
        above, below = await colours(canvas)
        assert above[0] > above[2] + 100
        assert below[2] > below[0] + 100


async def test_placeholders_are_decoded_as_elsewhere(app: PhotoApp) -> None:
    async with app.visited() as page:
        for hashed in (placeholder(above=YELLOW), placeholder(opacity=100), placeholder(width=20)):
            expected = pyvips.Image.new_from_buffer(placeholder_png(hashed) or b"", "")
            decoded = await page.evaluate(
                "(hash) => { const { width, height, data } = yurt.thumbhash(hash); return [width, height, ...data]; }",
                hashed,
            )
            assert decoded[:2] == [expected.width, expected.height]
            pairs = zip(decoded[2:], bytes(expected.write_to_memory()), strict=True)
            assert max(abs(one - other) for one, other in pairs) <= 1
        for wrong in ("", "é", "AAAA", "/////w==", "A" * 200):
            assert await page.evaluate("(hash) => yurt.thumbhash(hash)", wrong) is None, wrong

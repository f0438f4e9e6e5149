"""``upload()`` in a real browser: one request, parts, giving up, a reload, no network, and what the server says."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, Request, Route

from tests.polling import until
from tests.webhook.javascript.photo_app import PhotoApp, loaded
from tests.webhook.page.chromium import needs_chromium

pytestmark = [needs_chromium, pytest.mark.slow]

MIB = 1 << 20
LARGE = 16 * MIB + 1
"""Two parts. The second is one byte, so that holding it back costs nothing."""
SECOND = "**/*partNumber=2*"
BEGIN = """([ticket, size, type]) => {
  const file = new File([new Uint8Array(size)], "IMG 42.jpg", { type, lastModified: 1000 });
  window.progress = [];
  window.stop = new AbortController();
  window.uploading = yurt.upload(file, { ticket, signal: stop.signal, onprogress: (seen) => progress.push(seen) }).then(
    (place) => ({ place }), ({ name, code, status, message }) => ({ name, code, status, message }));
}"""
OUTCOME = "uploading"


async def begin(page: Page, ticket: str, size: int = 10, content_type: str = "image/jpeg") -> None:
    """Begin an upload of zeros."""
    await page.evaluate(BEGIN, [ticket, size, content_type])


def part_of(request: Request) -> str | None:
    """The number of the part that a request uploads."""
    found = [pair.partition("=")[2] for pair in request.url.split("?")[-1].split("&") if pair.startswith("partNumber=")]
    return found[0] if found and request.method == "PUT" else None


async def hold(route: Route) -> None:
    """Let a request never arrive."""
    del route


async def test_a_file_is_uploaded_in_one_request(app: PhotoApp) -> None:
    async with app.visited() as page:
        await begin(page, await app.ticket())
        place = (await page.evaluate(OUTCOME))["place"]
        assert place["pipeline"] == "photos"
        assert app.inputs() == {place["key"]: 10}
        assert place["key"].endswith("jpg")
        head = app.buckets.s3.head_object(Bucket=app.buckets.inputs, Key=place["key"])
        assert head["ContentType"] == "image/jpeg"
        assert (await page.evaluate("progress.at(-1)")) == {"loaded": 10, "total": 10}


async def test_the_servers_sentence_is_the_error(app: PhotoApp) -> None:
    async with app.visited() as page:
        await begin(page, await app.ticket(content_types=["image/*"]), content_type="text/html")
        refused = await page.evaluate(OUTCOME)
        assert refused == {
            "name": "YurtError", "code": "type-not-allowed", "status": 403,
            "message": "this ticket allows image/*, not text/html",
        }  # fmt: skip
        expired = await app.ticket()
        await app.plane.sql("update upload_tickets set expires_at = now() - interval '1 second'")
        await begin(page, expired)
        refused = await page.evaluate(OUTCOME)
        assert (refused["code"], refused["status"]) == ("unauthorized", 401)
        assert "this ticket has expired" in refused["message"]


async def test_what_the_store_says_is_the_error(app: PhotoApp) -> None:
    async def longer(route: Route) -> None:
        await route.continue_(post_data=b"longer than was signed")

    async with app.visited() as page:
        await page.route(f"{app.buckets.store.endpoint}/**", longer)
        await begin(page, await app.ticket())
        refused = await page.evaluate(OUTCOME)
        assert refused["status"] == 403
        assert refused["message"].startswith("the store refused the file: ")
        assert app.inputs() == {}


async def test_a_large_file_goes_on_after_a_reload(app: PhotoApp) -> None:
    ticket = await app.ticket(uploads=1, max_bytes=LARGE)
    sent: list[str] = []
    async with app.visited() as page:
        page.on("requestfinished", lambda request: sent.append(number) if (number := part_of(request)) else None)
        await page.route(SECOND, hold)
        await begin(page, ticket, LARGE)
        await until(lambda: sent == ["1"])
        stored = await page.evaluate("JSON.stringify(localStorage)")
        assert ticket not in stored
        await page.reload()
        await loaded(page)
        await page.unroute_all(behavior="ignoreErrors")  # before the reload it would let the part go
        sent.clear()
        await begin(page, ticket, LARGE)
        place = (await page.evaluate(OUTCOME))["place"]
        assert sent == ["2"]
        assert app.inputs() == {place["key"]: LARGE}
        assert (await page.evaluate("progress[0].loaded")) == LARGE - 1
        assert await page.evaluate("localStorage.length") == 0


async def test_an_aborted_upload_leaves_nothing(app: PhotoApp) -> None:
    def begun() -> list[str]:
        listed = app.buckets.s3.list_multipart_uploads(Bucket=app.buckets.inputs)
        return [each["Key"] for each in listed.get("Uploads", [])]

    async with app.visited() as page:
        await page.route("**/v1/uploads/*/parts", hold)
        async with page.expect_request("**/v1/uploads/*/parts"):
            await begin(page, await app.ticket(max_bytes=LARGE), LARGE)
        assert len(begun()) == 1
        await page.evaluate("stop.abort()")
        assert (await page.evaluate(OUTCOME))["name"] == "AbortError"
        await until(lambda: not begun(), pause_seconds=0.05)
        assert await page.evaluate("localStorage.length") == 0
        await page.unroute_all(behavior="ignoreErrors")


async def test_an_upload_waits_for_the_network(app: PhotoApp) -> None:
    async with app.visited() as page:
        tries: list[Request] = []
        page.on("request", lambda request: tries.append(request) if request.url.endswith("/v1/uploads") else None)
        await page.clock.install()
        await page.context.set_offline(True)
        async with page.expect_event("requestfailed"):
            await begin(page, await app.ticket())
        await page.clock.run_for(600_000)
        await page.context.set_offline(False)
        place = (await page.evaluate(OUTCOME))["place"]
        assert app.inputs() == {place["key"]: 10}
        assert [request.method for request in tries if request.method == "POST"] == ["POST", "POST"]


async def test_an_answer_that_was_lost_does_not_fail_the_upload(app: PhotoApp) -> None:
    tries = 0

    async def lose_first_answer(route: Route) -> None:
        nonlocal tries
        if route.request.method == "PUT":
            tries += 1
            if tries == 1:
                await route.fetch()  # it arrives
                await route.abort()
                return
        await route.continue_()

    async with app.visited() as page:
        await page.route(f"{app.buckets.store.endpoint}/**", lose_first_answer)
        await begin(page, await app.ticket())
        place = (await page.evaluate(OUTCOME))["place"]
        assert (tries, app.inputs()) == (2, {place["key"]: 10})

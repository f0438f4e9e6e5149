"""The real Uppy uploads with the wiring that docs/javascript.md shows: one request, parts, going on, giving up."""

from __future__ import annotations

import os

import pytest
from playwright.async_api import Page, Route

from tests.polling import until
from tests.webhook.javascript.npm import bundled_uppy, version
from tests.webhook.javascript.photo_app import PhotoApp
from tests.webhook.page.chromium import needs_chromium

pytestmark = [needs_chromium, pytest.mark.slow]

LARGE = (16 << 20) + 1
SECOND = "**/*partNumber=2*"
ADD = """async ([url, ticket, size]) => {
  const { Uppy, uploadToYurt } = await import("/uppy.js");
  window.uppy = uploadToYurt(new Uppy(), url, ticket);
  window.outcomes = [];
  uppy.on("upload-success", (file, { body }) => outcomes.push(body.key));
  uppy.on("upload-error", (file, error) => outcomes.push(error.message));
  uppy.addFile({ name: "a & b.jpg", type: "image/jpeg", data: new Blob([new Uint8Array(size)]) });
  uppy.upload();
}"""


@pytest.fixture(scope="module")
def uppy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Uppy as one module. Kept in pytest's cache: npm takes as long as all other tests here."""
    assert request.config.cache is not None
    kept = request.config.cache.mkdir("uppy") / f"{version()}.js"
    if not kept.exists():
        made = kept.with_suffix(f".{os.getpid()}")
        made.write_bytes(bundled_uppy(tmp_path_factory.mktemp("uppy")))
        made.rename(kept)
    return kept.read_bytes()


async def outcome(page: Page) -> str:
    """The key of the file that was uploaded, or the error's message."""
    await page.wait_for_function("() => outcomes.length")
    return str(await page.evaluate("outcomes.shift()"))


async def test_uppy_uploads_by_tickets(app: PhotoApp, uppy: bytes) -> None:
    browser = await app.token.ticket(uploads=3, max_bytes=LARGE, content_types=["image/jpeg"])

    async def hold(route: Route) -> None:
        del route

    def under_way() -> int:
        return len(app.buckets.s3.list_multipart_uploads(Bucket=app.buckets.inputs).get("Uploads", []))

    async with app.visited(scripts={"/uppy.js": uppy}, connect_to="data:") as page:
        await page.evaluate(ADD, [app.plane.url, browser.secret, 10])
        small = await outcome(page)
        assert app.inputs() == {small: 10}
        # It goes on with the parts that are missing.
        await page.route(SECOND, hold)
        async with page.expect_request(SECOND):
            await page.evaluate(ADD, [app.plane.url, browser.secret, LARGE])
        await page.evaluate("uppy.pauseAll()")
        await page.unroute_all(behavior="ignoreErrors")
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url) if "partNumber=" in request.url else None)
        await page.evaluate("uppy.resumeAll()")
        large = await outcome(page)
        assert app.inputs() == {small: 10, large: LARGE}
        assert ["partNumber=2" in url for url in sent] == [True]
        # It gives up.
        await page.route("**/v1/uploads/*/parts", hold)
        async with page.expect_request("**/v1/uploads/*/parts"):
            await page.evaluate(ADD, [app.plane.url, browser.secret, LARGE])
        assert under_way() == 1
        await page.evaluate("uppy.cancelAll()")
        await until(lambda: under_way() == 0, pause_seconds=0.05)
        # It shows Yurt's sentence.
        await page.evaluate(ADD, [app.plane.url, browser.secret, 10])
        assert await outcome(page) == "this ticket allows 3 uploads, and all were begun"

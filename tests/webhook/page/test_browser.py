"""The page in a real browser: signing in, dropping a file, redriving, a lost connection, screens, accessibility."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from infra.cors import apply_cors, plan_cors, wanted_rules
from infra.demo.encoding import jpeg
from infra.demo.sample_images import SampleImage
from tests.infra.local.running import RunningBucket
from tests.webhook.buckets import BucketPair
from tests.webhook.callbacks.receiving_app import SECRET
from tests.webhook.ordered_machines import intended
from tests.webhook.page.chromium import enter, line_to, needs_chromium, opened
from tests.webhook.page.contents import APP, deploy, given_up
from tests.webhook.page.visits import parked
from tests.webhook.plane import ADMIN, RunningPlane, configured, control_plane, done, event, pipeline
from tests.webhook.proxy.serving import SERVICE

pytestmark = [needs_chromium, pytest.mark.slow]

CONFIG = configured({"photos": pipeline(conditions="quoted", attempts=1)})
FULL = configured(
    {"photos": pipeline(conditions="quoted", attempts=1, callback=APP)}, services={"sdxl": SERVICE, "cold": SERVICE}
)
VIEWS = (
    "/", "/objects", "/parked", "/quarantine", "/machines", "/services", "/definitions", "/callbacks", "/tokens",
    "/costs", "/sweeps",
)  # fmt: skip


async def filled(plane: RunningPlane) -> list[str]:
    """Something in every view. Returns the addresses of single things."""
    callbacks = await given_up(plane, "bad/" + "long-name-" * 20 + ".jpg", message="no space " * 30, log="line\n" * 100)
    await plane.sql("update callback_feeds set off_for = 'x', off_at = yurt_now()")
    await plane.notify(event("a & <b>.jpg"), event("b.jpg"))
    worker = await plane.worker()
    settled = done(await worker.lease(), {"256.webp": "e", "result.json": "r"})
    await worker.ask(most=0, settle=[{**settled, "verdict": "review"}])
    await plane.post_events({"nonsense": "x" * 300})
    machine = await intended(plane)
    await plane.admin("POST", "/v1/sweeps", json={})
    await plane.sql(
        "insert into spending (day, pool, provider, phase, pipeline, usd)"
        " select current_date - n, 'local', 'local', 'work', 'photos', n + 1 from generate_series(0, 20) as n"
    )
    await plane.sql(
        "insert into service_machines (worker_id, service, idle_seconds, used_at, state, message, log)"
        " values ($1, 'sdxl', 0, yurt_now(), 'failing', 'it ended with 1', 'no module')",
        worker.id,
    )
    await plane.admin("POST", "/v1/tokens", json={"name": "gallery " * 10, "scopes": ["read:*"]})
    await deploy(plane, "cp", note="commit")
    await deploy(plane, "ln")
    [text] = await plane.sql("select id from quarantine")
    [id] = [row["id"] for row in await plane.sql("select id from objects where state = 'parked'")]
    [callback] = callbacks.values()
    return [
        f"/parked/{id}", f"/quarantine/{text['id']}", f"/machines/{machine.id}",
        "/object?pipeline=photos&key=b.jpg", "/definitions/captions", "/definitions/captions/2",
        f"/callbacks/{callback}", "/objects?verdict=review",
    ]  # fmt: skip


async def test_signing_in_by_the_form_and_out_again(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, CONFIG, loops=False) as plane, opened() as page:
        await page.goto(f"{plane.url}/parked?reason=x")
        await page.get_by_label("Token").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not right")
        await page.get_by_label("Token").fill(ADMIN)
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/parked?reason=x")
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/sign-in")
        await page.goto(plane.url)
        await page.wait_for_url("**/sign-in")


async def test_a_link_from_another_site_finds_the_session(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, CONFIG, loops=False) as plane, opened() as page:
        await enter(page, plane)
        assert "#" not in page.url, "the code does not stay in the history"
        elsewhere = f"http://localhost:{plane.port}/healthz"  # another site, to cookies
        await page.goto(elsewhere)
        await page.evaluate("(url) => location.assign(url)", f"{plane.url}/machines")
        await expect(page.get_by_role("heading", name="Machines")).to_be_visible()


async def test_a_dropped_photo_goes_through_while_one_watches(postgres_dsn: str, store: RunningBucket) -> None:
    pair = BucketPair.made(store)
    config = pair.configured()
    for bucket, rule in wanted_rules(config, ["http://127.0.0.1:*"]).items():
        apply_cors(pair.s3, plan_cors(pair.s3, bucket, rule))
    photo = jpeg(SampleImage(320, 240, "DROP").draw())
    async with control_plane(postgres_dsn, config, loops=False, store=store.endpoint) as plane, opened() as page:
        await plane.services.fleet.accrue()  # begins the day's count of results
        await enter(page, plane)
        await expect(page.locator("#pulse")).to_have_attribute("data-state", "live")
        await page.evaluate(
            """(bytes) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "yurt & <b>.jpg", { type: "image/jpeg" }));
                dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
            }""",
            list(photo),
        )
        tile = page.locator("#drops li")
        await expect(tile.locator("img.soft")).to_be_visible()
        await expect(tile.locator(".time")).to_have_text("uploaded")
        [key] = [item["Key"] for item in pair.s3.list_objects_v2(Bucket=pair.inputs)["Contents"]]
        assert key.endswith(".jpg")
        await plane.notify(event(key, bucket=pair.inputs))
        worker = await plane.worker()
        lease = await worker.lease()
        await expect(tile.locator(".time")).to_have_text("at work")
        etags = {}
        for upload in await worker.uploads(
            lease, "256.webp", "result.json", size=len(photo), content_type="image/webp"
        ):
            async with httpx.AsyncClient() as http:
                sent = await http.put(upload.url, content=photo, headers=upload.headers)
            etags[upload.name] = sent.headers["etag"].strip('"')
        await worker.ask(most=0, settle=[done(lease, etags)])
        await plane.services.settles.number()
        thumbnail = tile.locator("a.tile img:not(.soft)")
        await expect(thumbnail).to_be_visible()
        await expect(thumbnail).to_have_js_property("naturalWidth", 320)
        # The live view shows it too, without being loaded again.
        await expect(page.locator("#part-results li")).to_have_count(1)
        await expect(page.locator("[data-n=done]")).to_have_text("1")
        await tile.locator("a").click()
        await expect(page.get_by_role("heading", name="Original")).to_be_visible()


async def test_a_parked_object_is_redriven(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, CONFIG, loops=False) as plane, opened() as page:
        await parked(plane, "a.jpg", "b.jpg")
        await enter(page, plane)
        await page.get_by_role("link", name="2 parked").click()
        await page.get_by_role("checkbox", name="a.jpg").check()
        await page.get_by_role("button", name="Redrive the ticked …").click()
        await expect(page.get_by_role("heading", name="Redrive 1 object?")).to_be_visible()
        await page.get_by_role("button", name="Redrive 1").click()
        await expect(page.get_by_role("status").first).to_have_text("One will be processed again.")
        states = {key: row["state"] for key, row in (await plane.objects()).items()}
        assert states == {"a.jpg": "pending", "b.jpg": "parked"}


async def test_a_lost_connection_is_said_and_what_was_missed_appears(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, CONFIG, loops=False) as plane, line_to(plane) as line, opened() as page:
        await enter(page, plane, line.url)
        pulse = page.locator("#pulse")
        await expect(pulse).to_have_attribute("data-state", "live")
        line.sever()
        await expect(page.locator("#lost")).to_be_visible()
        await expect(pulse).to_have_text("connection lost")
        await plane.notify(event("a.jpg"))
        line.cut = False
        await expect(pulse).to_have_attribute("data-state", "live")
        await expect(page.locator("#lost")).to_be_hidden()
        await expect(page.locator("[data-n=waiting]")).to_have_text("1")


async def test_tables_are_read_again_without_losing_what_was_ticked(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, CONFIG, loops=False) as plane, opened() as page:
        await enter(page, plane)
        await page.goto(f"{plane.url}/machines")
        await expect(page.get_by_text("No machine runs")).to_be_visible()
        machine = await intended(plane)
        await expect(page.locator("tbody th").filter(has_text=str(machine.id))).to_be_visible()


@pytest.mark.parametrize("width", [320, 3840])
async def test_no_view_is_wider_than_the_screen(postgres_dsn: str, width: int) -> None:
    async with (
        control_plane(postgres_dsn, FULL, loops=False, yurt_callback_secrets=SECRET) as plane,
        opened(width=width) as page,
    ):
        single = await filled(plane)
        await enter(page, plane)
        for path in (*VIEWS, *single):
            await page.goto(plane.url + path)
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path


@pytest.mark.parametrize("width", [320, 1280])
async def test_assistive_technology_meets_no_fault_in_light_and_dark(postgres_dsn: str, width: int) -> None:
    async with (
        control_plane(postgres_dsn, FULL, loops=False, yurt_callback_secrets=SECRET) as plane,
        opened(width=width) as page,
    ):
        single = await filled(plane)
        await page.goto(f"{plane.url}/sign-in")
        assert await _faults(page) == {}
        await enter(page, plane)
        for path in (*VIEWS, *single):
            await page.goto(plane.url + path)
            assert await _faults(page) == {}, path
        # What stands between an order and what it does, and a token that is shown once.
        await page.goto(f"{plane.url}/definitions/captions")
        await page.get_by_role("button", name="Roll back to version 1").click()
        await expect(page.get_by_role("heading", name="Let version 1 of captions hold again?")).to_be_visible()
        assert await _faults(page) == {}
        await page.goto(f"{plane.url}/tokens")
        await page.get_by_label("App that gets it").fill("app")
        await page.get_by_label("Scopes").fill("read:photos")
        await page.get_by_role("button", name="Make it").click()
        await expect(page.locator("#token")).to_contain_text("yurt_app_")
        assert await _faults(page) == {}


async def _faults(page: Page) -> dict[str, Any]:
    await page.emulate_media(color_scheme="light")
    found = await Axe().run(page)
    await page.emulate_media(color_scheme="dark")
    contrast = await Axe().run(page, options={"runOnly": ["color-contrast"]})  # nothing else differs
    faults = [*found.response["violations"], *contrast.response["violations"]]
    return {fault["id"]: [node["html"] for node in fault["nodes"]] for fault in faults}

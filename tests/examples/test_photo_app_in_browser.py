"""The photo app with all of Yurt in a real browser: upload, placeholder, thumbnail, refusal, reason, deletion."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import pyvips
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import FilePayload, Locator, Page, expect

import run_locally
from infra.demo.encoding import jpeg
from infra.demo.sample_images import SampleImage
from run_locally import ExampleRun, RunningExample
from tests.polling import until
from tests.webhook.page.chromium import needs_chromium, opened
from tests.workers.checks.graphs import colour_graph, write_model
from webhook.config_file import load
from workers.handlers.registry import options_model

pytestmark = [needs_chromium, pytest.mark.slow]

CONFIG = Path(run_locally.__file__).with_name("yurt.toml")
CHECKED = {
    "[pipelines.photos]": '[models.colours]\nsource = "s3://models/colours"\n[pipelines.photos]\nmodels = ["colours"]',
    "[pipelines.photos.options]": '[pipelines.photos.options]\nchecks = ["colours"]',
}
"""Adds a model by which red photos are refused."""


def example_run(folder: Path) -> ExampleRun:
    """The example's own configuration, with a small model."""
    text = CONFIG.read_text(encoding="utf-8")
    for line, longer in CHECKED.items():
        assert f"{line}\n" in text
        text = text.replace(f"{line}\n", f"{longer}\n")
    path = folder / "yurt.toml"
    path.write_text(text, encoding="utf-8")
    models = {"colours": write_model(folder / "model", colour_graph())}
    return ExampleRun(load(path, options_model), path, folder, models, {"YURT_POOLS__LOCAL__LIMIT": "1"})


def photos() -> list[FilePayload]:
    """Two that are shown, one that the model refuses, and one that is none."""
    red, night = (
        pyvips.Image.black(640, 400, bands=3).linear([1, 1, 1], colour).cast("uchar").copy(interpretation="srgb")
        for colour in ([250, 20, 20], [10, 20, 60])
    )
    content = {
        "yurt & <b>.jpg": jpeg(SampleImage(640, 480, "YURT").draw()),
        "night.jpg": jpeg(night),
        "red.jpg": jpeg(red),
        "text.jpg": b"this is no photo",
    }
    return [{"name": name, "mimeType": "image/jpeg", "buffer": data} for name, data in content.items()]


async def sign_in(page: Page, url: str, name: str) -> None:
    await page.goto(url)
    await page.get_by_label("Your name").fill(name)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name=name)).to_be_visible()


async def upload(page: Page, files: list[FilePayload]) -> None:
    async with page.expect_file_chooser() as chooser:
        await page.get_by_role("button", name="Choose or drop photos").click()
    await (await chooser.value).set_files(files)


def tile(page: Page, name: str) -> Locator:
    return page.locator("#photos li").filter(has_text=name)


async def check_accessibility(page: Page) -> None:
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(wider) == 0, "wider than the screen"


def test_photos_from_upload_to_deletion(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        run_locally.running(example_run(tmp_path), listener) as example,
    ):
        asyncio.run(check_album(example))
        example.stack.check()


async def check_album(example: RunningExample) -> None:
    """One person's photos, from the first upload on; and another one, who sees nothing of them."""
    async with opened() as page:
        await check_entrance(page, example.url)
        await sign_in(page, example.url, "Ada")
        await check_uploads(page)
        await check_one_photo(page)
        await check_deletion(page, example)
        await page.emulate_media(color_scheme="dark")
        await page.set_viewport_size({"width": 320, "height": 640})
        await check_accessibility(page)
        await page.get_by_role("button", name="Sign out").click()
        await sign_in(page, example.url, "Bob")
        await expect(page.get_by_text("No photo yet")).to_be_visible()
        assert await page.locator("#photos li").count() == 0


async def check_entrance(page: Page, url: str) -> None:
    """The form to sign in says what is wrong with a name."""
    await page.goto(url)
    await page.get_by_label("Your name").fill(" ")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("Write a name")
    await check_accessibility(page)


async def check_uploads(page: Page) -> None:
    """Each photo has its placeholder at once, and then what became of it, without a reload."""
    await expect(page.get_by_text("No photo yet")).to_be_visible()
    await upload(page, photos())
    image = tile(page, "yurt &").locator("yurt-image")
    await expect(image).to_have_attribute("state", "waiting")  # no machine runs yet
    await expect(image.locator("canvas")).to_be_visible()
    await expect(tile(page, "yurt &").locator(".note")).to_have_text("Is being processed")
    await check_accessibility(page)
    for name in ("yurt &", "night.jpg"):
        picture = tile(page, name).locator("yurt-image[state=done] img")
        await expect(picture).to_be_visible()
        assert await picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    refused = tile(page, "red.jpg")
    await expect(refused.locator("yurt-image")).to_have_attribute("state", "refused")
    await expect(refused).to_contain_text("Refused: NSFW 9")
    await expect(tile(page, "text.jpg")).to_contain_text("This file is named .jpg but holds text")
    await expect(page.locator("#count")).to_have_text("4 photos")
    await check_accessibility(page)
    await page.reload()
    await expect(page.locator("#photos yurt-image[state=done]")).to_have_count(2)


async def check_one_photo(page: Page) -> None:
    """A photo on the whole screen, by keyboard alone."""
    opener = page.get_by_role("button", name="Open yurt & _b_.jpg")
    await opener.focus()
    await page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    await expect(viewer.locator("yurt-image[state=done] img")).to_be_visible()
    await check_accessibility(page)
    order = [await name.inner_text() for name in await page.locator("#photos li[data-state=done] .name").all()]
    key = "ArrowRight" if order.index("night.jpg") else "ArrowLeft"
    await page.keyboard.press(key)
    await expect(viewer.locator("strong")).to_have_text("night.jpg")
    await page.keyboard.press("Escape")
    await expect(viewer).to_be_hidden()
    await expect(page.get_by_role("button", name="Open night.jpg")).to_be_focused()


async def check_deletion(page: Page, example: RunningExample) -> None:
    """Deleted photos leave the album, the bucket and the results."""
    s3 = example.stack.s3()

    def names(bucket: str) -> set[str]:
        """Of photos: their keys are uploads/users/PERSON/TICKET/NUMBER/NAME."""
        found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {item["Key"].removeprefix("results/").split("/")[5] for item in found}

    await page.get_by_role("button", name="Delete night.jpg").click()
    await check_accessibility(page)
    await page.get_by_role("button", name="Keep it").click()
    for name in ("night.jpg", "red.jpg", "text.jpg"):
        await page.get_by_role("button", name=f"Delete {name}").click()
        await page.get_by_role("dialog", name=f"Delete {name}?").get_by_role("button", name="Delete").click()
        await expect(tile(page, name)).to_have_count(0)
        await expect(page.locator("#said")).to_have_text(f"{name} is deleted.")
    await until(lambda: names("photos-in") == {"yurt & _b_.jpg"} == names("photos-out"), pause_seconds=0.1)
    await page.reload()
    await expect(page.locator("#photos li")).to_have_count(1)

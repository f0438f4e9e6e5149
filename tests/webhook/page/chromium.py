"""The system's Chromium, driven over the DevTools protocol; and a line to the control plane that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.webhook.plane import RunningPlane

EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DEADLINE_MS = 60_000
needs_chromium = pytest.mark.skipif(EXECUTABLE is None, reason="there is no Chromium: apt-get install chromium")


@contextlib.asynccontextmanager
async def opened(
    *, width: int = 1280, height: int = 800, scheme: Literal["light", "dark"] = "light"
) -> AsyncIterator[Page]:
    """A tab of a new browser. At the end it has to have logged no error of a script or of the policy."""
    async with launched() as browser, tab(browser, width=width, height=height, scheme=scheme) as page:
        yield page


@contextlib.asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A new browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=EXECUTABLE, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def tab(
    browser: Browser, *, width: int = 1280, height: int = 800, scheme: Literal["light", "dark"] = "light"
) -> AsyncIterator[Page]:
    """A tab that shares no storage with others. At the end it has to have logged no error of a script or the policy."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(DEADLINE_MS)
    expect.set_options(timeout=DEADLINE_MS)
    try:
        page = await context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Content Security" in line.text else None)
        yield page
        assert not faults, faults
    finally:
        await context.close()


async def enter(page: Page, plane: RunningPlane, url: str = "") -> None:
    """Open the page by a sign-in link."""
    link = (await plane.admin("POST", "/v1/sign-in-links")).json()["path"]
    await page.goto(f"{url or plane.url}{link}")
    await page.wait_for_selector("h1:has-text('Live')")


@dataclass
class Line:
    """A TCP proxy before a control plane."""

    port: int
    url: str = ""
    cut: bool = False
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand one connection on, unless the line is cut."""
        if self.cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._open |= {writer, far_writer}
        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()
        self._open.discard(target)

    def sever(self) -> None:
        """Cut the line: every connection ends, and none is taken."""
        self.cut = True
        for writer in self._open:
            writer.transport.abort()

    async def aclose(self) -> None:
        """End all connections."""
        self.sever()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def line_to(plane: RunningPlane) -> AsyncIterator[Line]:
    """A line to a control plane."""
    line = Line(plane.port)
    server = await asyncio.start_server(line.handle, "127.0.0.1", 0)
    line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        await line.aclose()

"""Measures the page in Chromium over 10,000 objects and 500 machines: first paint, long tasks, memory, nodes."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from playwright.async_api import CDPSession, Page

from tests.bench.plane import SECRET, BenchPlane, serving
from tests.bench.report import BenchFigure
from tests.webhook.page.chromium import EXECUTABLE, opened
from tests.webhook.page.many import MACHINES, OBJECTS, fill
from webhook.page.served_files import Assets

VIEWS = (
    "/", "/objects", "/objects?verdict=refused", "/parked", "/quarantine", "/machines", "/services", "/definitions",
    "/callbacks", "/tokens", "/costs", "/sweeps",
)  # fmt: skip
_LOADS = 5
"""Of each view, after one that fills the browser's cache."""
_WATCHED_SECONDS = 15
_CHANGED_MACHINES = 50
"""Of all, each second, while the live view is watched."""

_NO_STORE = "http://127.0.0.1:9"
"""Images are not found at once: what is measured is the page, and no store."""

_OBSERVE = """
    window.longTasks = [];
    new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((task) => task.duration)))
        .observe({ type: "longtask", buffered: true });
"""
_PAINT = """() => new Promise((found) => new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") found(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""


@dataclass(frozen=True, slots=True)
class ViewLoad:
    """One view as a browser has loaded it several times."""

    path: str
    paint_ms: float
    """Navigation to first contentful paint, median."""
    longest_task_ms: float
    """The longest task of the main thread beyond 50 ms, median; 0: there is none."""


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure all figures of this part. Without Chromium there are only the sizes."""
    if EXECUTABLE is None:
        print("There is no Chromium: apt-get install chromium")
        return _sizes()
    with serving(folder, _NO_STORE) as plane:
        await fill(plane.dsn)
        async with opened() as page:
            await page.add_init_script(_OBSERVE)
            browser = await page.context.new_cdp_session(page)
            await browser.send("Performance.enable")
            await _enter(page, plane)
            loads = [await _load(page, plane.url + path, path) for path in VIEWS]
            watched = await _watch(page, browser, plane)
    slowest = max(loads, key=lambda load: load.paint_ms)
    busiest = max(loads, key=lambda load: load.longest_task_ms)
    amount = f"{OBJECTS:,} objects, {MACHINES} machines"
    return [
        BenchFigure(f"page: first paint, slowest view ({slowest.path}), {amount}", slowest.paint_ms, "ms", at_most=300),
        BenchFigure(
            "page: first paint, median view", statistics.median(load.paint_ms for load in loads), "ms", at_most=300
        ),
        BenchFigure(f"page: longest task while loading ({busiest.path})", busiest.longest_task_ms, "ms", at_most=200),
        *watched,
        *_sizes(),
    ]


async def _enter(page: Page, plane: BenchPlane) -> None:
    headers = {"authorization": f"Bearer {SECRET}"}
    async with httpx.AsyncClient() as http:
        link = (await http.post(f"{plane.url}/v1/sign-in-links", headers=headers)).json()["path"]
    await page.goto(plane.url + link)
    await page.wait_for_selector("h1:has-text('Live')")


async def _load(page: Page, url: str, path: str) -> ViewLoad:
    paints, tasks = [], []
    for number in range(_LOADS + 1):
        # Live updates never let the network come to rest, so "load" is what is waited for.
        await page.goto(url, wait_until="load")
        paint = await page.evaluate(_PAINT)
        if number:
            paints.append(float(paint))
            tasks.append(max(await page.evaluate("longTasks"), default=0.0))
    return ViewLoad(path, statistics.median(paints), statistics.median(tasks))


# ── the live view while much changes ─────────────────────────────────────────────────────────────────────────────────


async def _watch(page: Page, browser: CDPSession, plane: BenchPlane) -> list[BenchFigure]:
    await page.goto(plane.url)
    await page.wait_for_selector("#pulse[data-state=live]")
    await page.evaluate("longTasks.length = 0")
    before = await _metrics(browser)
    connection = await asyncpg.connect(plane.dsn)
    try:
        for second in range(_WATCHED_SECONDS):
            await _change(connection, second)
            await asyncio.sleep(1)
    finally:
        await connection.close()
    tasks = await page.evaluate("longTasks")
    after = await _metrics(browser)
    what = f"page: live view, {_CHANGED_MACHINES} of {MACHINES} machines change each second"
    busy = (after["TaskDuration"] - before["TaskDuration"]) / (after["Timestamp"] - before["Timestamp"])
    return [
        BenchFigure(f"{what}: longest task", max(tasks, default=0.0), "ms", at_most=100),
        BenchFigure(f"{what}: main thread at work", 100 * busy, "%", at_most=25),
        BenchFigure(f"{what}: nodes after ÷ before", after["Nodes"] / before["Nodes"], "", at_most=1.1),
        BenchFigure("page: live view, nodes of the document", await page.evaluate(_NODES), "", at_most=5_000),
        BenchFigure("page: live view, JavaScript heap", after["JSHeapUsedSize"] / 1e6, "MB", at_most=20),
    ]


_NODES = "document.querySelectorAll('*').length"


async def _metrics(browser: CDPSession) -> dict[str, float]:
    await browser.send("HeapProfiler.collectGarbage")
    answer: dict[str, Any] = await browser.send("Performance.getMetrics")
    return {metric["name"]: metric["value"] for metric in answer["metrics"]}


async def _change(connection: asyncpg.Connection, second: int) -> None:
    await connection.execute(
        "update workers set state = case state when 'ready' then 'draining' else 'ready' end"
        " where id % $1 = $2 and state in ('ready', 'draining')",
        MACHINES // _CHANGED_MACHINES,
        second % (MACHINES // _CHANGED_MACHINES),
    )
    await connection.execute(
        "insert into settles (object_id, pipeline_id, key, state, changed, etag, settled_at)"
        " select id, pipeline_id, key, state, true, done_etag, yurt_now() from objects"
        " where state = 'done' order by id offset $1 limit 10",
        10 * second,
    )


def _sizes() -> list[BenchFigure]:
    files = Assets().by_name
    return [
        BenchFigure(f"page: {name}", sum(len(file.content) for file in files.values() if file.path.endswith(end)) / 1e3,
                    "kB", at_most=most)
        for name, end, most in (("JavaScript", ".js", 30), ("CSS", ".css", 20))
    ]  # fmt: skip

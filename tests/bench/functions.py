"""Measures a function from ``yurt deploy`` to its first value: on a new machine, and where its code has changed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra.stack import Stack, running
from tests.bench.report import BenchFigure
from tests.yurt.wheels import wheel
from webhook.config_file import load
from workers.handlers.registry import options_model
from yurt.calls import run_all
from yurt.control_plane import ControlPlane

_CONFIG = """
[server]
listen = "127.0.0.1:0"
bundles = "s3://photos-out/functions/"
[pipelines.photos]
input = "s3://photos-in/other/"
output = "s3://photos-out/other/"
[pools.local]
provider = "local"
limit = 1
idle_seconds = 600
"""
_CODE = """
import yurt

@yurt.function(requirements=["greeting"])
def answer(number: int) -> list:
    import greeting
    return [greeting.WORDS, number, {turn}]
"""
_TURNS = 5


async def measure(folder: Path) -> list[BenchFigure]:
    """Deploy a function on a control plane without machines, and then new versions of its code."""
    first, *others = await asyncio.to_thread(lambda: [*_deployments(folder)])
    return [
        BenchFigure("yurt deploy→first value, no machine, requirements to install", first, "s", at_most=5.0),
        BenchFigure("yurt deploy→first value, changed code alone", statistics.median(others), "s", at_most=2.0),
    ]


def _deployments(folder: Path) -> Iterator[float]:
    index = folder / "index"
    index.mkdir()
    wheel(index, "greeting", "WORDS = 'hello'")
    path = folder / "yurt.toml"
    path.write_text(_CONFIG)
    own = {
        "UV_FIND_LINKS": str(index), "UV_NO_INDEX": "1", "UV_OFFLINE": "1", "XDG_CACHE_HOME": str(folder / "cache"),
    }  # fmt: skip
    with _environment(own), running(load(path, options_model), path, folder / "state", environment=own) as stack:
        for turn in range(_TURNS):
            yield _deployed(stack, folder, turn)


def _deployed(stack: Stack, folder: Path, turn: int) -> float:
    source = folder / "app.py"
    source.write_text(_CODE.format(turn=turn))
    begun = time.monotonic()
    credentials = {"YURT_URL": stack.url, "YURT_ADMIN_TOKEN": stack.keys.admin}
    command = [sys.executable, "-m", "webhook", "deploy", str(source)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **credentials})
    [value] = run_all("answer", [((7,), {})], plane=ControlPlane(stack.url, stack.keys.admin))
    if value != ["hello", 7, turn]:
        raise RuntimeError(f"the function returned {value}")
    return time.monotonic() - begun


@contextlib.contextmanager
def _environment(own: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process, which the commands inherit."""
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value

"""A folder of local workers, looked at from outside the provider: by ``/proc`` and signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tests.webhook.fleet.providers.contract import OWNER
from webhook.fleet.providers import Instance
from webhook.fleet.providers.local import LocalProvider

STUB = (sys.executable, str(Path(__file__).with_name("stub_worker.py")))


@dataclass
class StubWorkers:
    """Stub workers of this machine, whatever started them."""

    folder: Path

    def start_of(self, label: str) -> dict[str, Any] | None:
        path = self.folder / "started" / f"{label}.json"
        return cast("dict[str, Any]", json.loads(path.read_text())) if path.exists() else None

    async def running(self, label: str) -> dict[str, Any]:
        """What the worker wrote down about itself, once it has."""
        async with asyncio.timeout(20):
            while (start := self.start_of(label)) is None:
                await asyncio.sleep(0.02)
        return start

    async def environment(self, label: str) -> Mapping[str, str]:
        return cast("Mapping[str, str]", (await self.running(label))["environment"])

    async def argv(self, label: str) -> Sequence[str]:
        return cast("Sequence[str]", (await self.running(label))["argv"])

    async def exists(self, label: str) -> bool:
        return any(_label_of(process) == label for process in Path("/proc").glob("[0-9]*"))


@dataclass
class LocalPlace(StubWorkers):
    deeds: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    made: list[LocalProvider] = field(default_factory=list)

    def provider(self, owner: str = OWNER) -> LocalProvider:
        environment = {"STUB_FOLDER": str(self.folder / "started"), "STUB_DEEDS": self.deeds}
        options = {"argv": STUB, "environment": environment, "grace_seconds": 3.0, **self.options}
        self.made.append(LocalProvider(owner, self.folder / "workers", **options))
        return self.made[-1]

    async def kill(self, instance: Instance) -> None:
        os.kill(int(instance.ref), signal.SIGKILL)


def _label_of(process: Path) -> str | None:
    try:
        environment = (process / "environ").read_bytes().split(b"\0")
    except OSError:  # it ended just now, or is a zombie
        return None
    return next((entry[11:].decode() for entry in environment if entry.startswith(b"YURT_LABEL=")), None)


def is_there(pid: int) -> bool:
    """Whether there is such a process, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def local_place(folder: Path, deeds: str = "", **options: Any) -> AsyncIterator[LocalPlace]:
    """A place of its own, left empty."""
    (folder / "started").mkdir(parents=True, exist_ok=True)
    place = LocalPlace(folder, deeds, options)
    try:
        yield place
    finally:
        for provider in place.made:
            await provider.aclose()


def runs(pid: int) -> bool:
    """Whether there is such a process, no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def ended(pid: int) -> None:
    """Wait until there is no such process, but perhaps a zombie that init has not collected."""
    async with asyncio.timeout(20):
        while runs(pid):
            await asyncio.sleep(0.02)

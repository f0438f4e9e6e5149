"""A Python with nothing installed, in which a container's start command is run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import venv
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from webhook.bootstrap.start_command import start_command

_PIP = re.compile(r"PIP_.*|(HTTPS?|ALL|NO)_PROXY|SSL_CERT_FILE|LANG", re.IGNORECASE)


@dataclass(frozen=True)
class BarePython:
    """An empty environment. Without ``pip`` it has none."""

    folder: Path
    pip: bool = True

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python3"

    def made(self) -> BarePython:
        venv.create(self.folder, with_pip=self.pip, symlinks=True)
        return self

    def environment(self, url: str, token: str, **more: str) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if _PIP.fullmatch(name)}
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        return {**given, "PATH": path, "HOME": str(self.folder), "YURT_URL": url, "YURT_TOKEN": token, **more}

    @contextlib.asynccontextmanager
    async def started(self, url: str, token: str, command: Sequence[str] = (), **more: str) -> AsyncIterator[Process]:
        """The process of the start command, or another; killed at the end."""
        program, *arguments = command or start_command()
        process = await asyncio.create_subprocess_exec(
            str(self.folder / "bin" / program), *arguments,
            env=self.environment(url, token, **more), stderr=PIPE, cwd=self.folder, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()

    async def ended(self, url: str, token: str, command: Sequence[str] = (), **more: str) -> tuple[int, str]:
        """Exit code and log of the start command, or another."""
        async with self.started(url, token, command, **more) as process:
            return await ended(process)


async def ended(process: Process) -> tuple[int, str]:
    """Exit code and log of a process that ends by itself."""
    _, log = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode is not None
    return process.returncode, log.decode()


def bare(folder: Path, *, pip: bool = True) -> BarePython:
    return BarePython(folder / "bare", pip).made()

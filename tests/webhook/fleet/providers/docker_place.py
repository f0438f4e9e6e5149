"""Containers of a real engine, looked at from outside the provider: by the engine's program and ``/proc``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.polling import until
from tests.webhook.fleet.providers.container_engines import STUB_IMAGE, ContainerEngine
from tests.webhook.fleet.providers.contract import OWNER
from webhook.fleet.providers import Instance
from webhook.fleet.providers.docker import DockerProvider
from webhook.provider_settings import DockerSettings
from webhook.secret_settings import Secrets


@dataclass
class DockerPlace:
    engine: ContainerEngine
    settings: dict[str, Any] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=Secrets)
    made: list[DockerProvider] = field(default_factory=list)

    def provider(self, owner: str = OWNER) -> DockerProvider:
        fields = {"kind": "docker", "host": self.engine.host, "image": STUB_IMAGE, "pull": "never", "network": "host"}
        settings = DockerSettings.model_validate({**fields, **self.settings})
        self.made.append(DockerProvider(owner, settings, self.secrets))
        return self.made[-1]

    async def environment(self, label: str) -> Mapping[str, str]:
        process = await self._process(label)
        entries = (process / "environ").read_bytes().decode().split("\0")
        return dict(entry.split("=", 1) for entry in entries if entry)

    async def argv(self, label: str) -> Sequence[str]:
        await self._process(label)
        arguments = [(process / "cmdline").read_bytes().decode() for process in _processes(label)]
        return [part for text in arguments for part in text.split("\0")]

    async def exists(self, label: str) -> bool:
        return self.engine.exists(label)

    async def kill(self, instance: Instance) -> None:
        self.engine.run("kill", "--signal=KILL", instance.ref)

    async def processes(self, label: str, program: str) -> Sequence[Path]:
        """The processes of one program in the container, once there is one."""

        def found() -> list[Path]:
            return [process for process in _processes(label) if (process / "comm").read_text().strip() == program]

        return await until(found)

    async def _process(self, label: str) -> Path:
        """The container's first process."""
        await until(lambda: _processes(label))
        return _processes(label)[0]


def _processes(label: str) -> list[Path]:
    return [process for process in Path("/proc").glob("[0-9]*") if _label_of(process) == label]


def _label_of(process: Path) -> str | None:
    try:
        environment = (process / "environ").read_bytes().split(b"\0")
    except OSError:  # it ended just now
        return None
    return next((entry[11:].decode() for entry in environment if entry.startswith(b"YURT_LABEL=")), None)


@asynccontextmanager
async def docker_place(engine: ContainerEngine, **settings: Any) -> AsyncIterator[DockerPlace]:
    """A place at an engine, left empty."""
    place = DockerPlace(engine, settings)
    try:
        yield place
    finally:
        for provider in place.made:
            await provider.aclose()
        engine.remove_containers()

"""All servers of one agent: at most one a port, replaced where a lease needs another one there.

A server is another one where its command or environment is, and so where a model has a newer version: its folder stands
there. The new one is started once the jobs that ask the old one have ended.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from workers.handlers import HandlerUnavailable
from workers.handlers.http.options import HttpOptions
from workers.servers.server import HandlerServer, may_enter
from workers.value_types import MODEL_PLACEHOLDER

_COG_FOLDER = Path("/src")
"""Where cog's images have ``cog.yaml`` and the model's code: its server looks for them in its working directory."""
_IDENTITY = {"command", "environment", "folder", "port", "ready", "ready_status", "start_seconds"}
"""Options of the server itself, and not of requests to it."""


@dataclass(slots=True)
class _UsedServer:
    server: HandlerServer
    identity: str
    users: int = 0


class HandlerServers:
    """The servers of an agent. Use on one event loop."""

    def __init__(self, folder: Path, handlers: Path | None, cog_folder: Path = _COG_FOLDER) -> None:
        """``folder`` is an existing one for the servers' own; ``handlers`` the user's; ``cog_folder`` the image's."""
        self._folder = folder
        self._handlers = handlers
        self._cog_folder = cog_folder
        self._by_port: dict[int, _UsedServer] = {}
        self._changed = asyncio.Condition()
        self._started = 0

    @asynccontextmanager
    async def using(self, options: HttpOptions, models: Mapping[str, Path]) -> AsyncIterator[HandlerServer]:
        """Have the server of these options take requests for the length of the ``async with`` block.

        Raises:
            HandlerUnavailable: it cannot be started, or does not become ready.
            OSError: this machine is to blame.

        """
        options = self._with_folder(_with_models(options, models))
        used = await self._taken(options, _identity(options))
        try:
            await used.server.ready()
            yield used.server
        finally:
            used.users -= 1
            async with self._changed:
                self._changed.notify_all()

    async def end(self, port: int) -> None:
        """End the server at a port unless it is in use."""
        async with self._changed:
            used = self._by_port.get(port)
            if used is not None and used.users == 0:
                del self._by_port[port]
                await used.server.aclose()

    async def aclose(self) -> None:
        """End all servers."""
        await asyncio.gather(*(used.server.aclose() for used in self._by_port.values()))

    async def _taken(self, options: HttpOptions, identity: str) -> _UsedServer:
        """The server of this identity on its port, counted as used."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_free(options.port, identity))
            used = self._by_port.get(options.port)
            if used is None or used.identity != identity:
                if used is not None:
                    await used.server.aclose()
                used = self._by_port[options.port] = _UsedServer(self._made(options), identity)
            used.users += 1
            return used

    def _is_free(self, port: int, identity: str) -> bool:
        used = self._by_port.get(port)
        return used is None or used.identity == identity or used.users == 0

    def _with_folder(self, options: HttpOptions) -> HttpOptions:
        """Have cog's server start in its image's folder, where the image has it and the options name no other."""
        if options.preset != "cog" or options.folder or not may_enter(self._cog_folder):
            return options
        return options.model_copy(update={"folder": str(self._cog_folder)})

    def _made(self, options: HttpOptions) -> HandlerServer:
        self._started += 1
        folder = self._folder / f"server-{self._started}"
        folder.mkdir(mode=0o700)
        return HandlerServer(options, folder, self._handlers)


def _with_models(options: HttpOptions, models: Mapping[str, Path]) -> HttpOptions:
    """Put the folders of models into command and environment. Raises HandlerUnavailable for one that is not named."""

    def folder(found: re.Match[str]) -> str:
        if found[1] not in models:
            message = f"The server's command or environment holds {found[0]}: add it to the models of its definition."
            raise HandlerUnavailable(message)
        return str(models[found[1]])

    def with_folders(text: str) -> str:
        return MODEL_PLACEHOLDER.sub(folder, text)

    command = tuple(map(with_folders, options.command))
    environment = {name: with_folders(value) for name, value in options.environment.items()}
    return options.model_copy(update={"command": command, "environment": environment})


def _identity(options: HttpOptions) -> str:
    """What makes a server another one: pipelines may send the same one different requests."""
    return json.dumps(options.model_dump(include=_IDENTITY), sort_keys=True)

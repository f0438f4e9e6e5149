"""Pulls the workers' image onto a container engine, in the background: a pull takes longer than a mint may."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

from webhook.fleet.providers import ProviderBusy, ProviderError, ProviderFinding, ProviderRefused
from webhook.fleet.providers.docker_engine import DockerEngine, EngineError
from webhook.provider_settings import DockerSettings
from webhook.secret_settings import Secrets

PULL_SECONDS = 3600.0
"""Deadline of one pull."""
WAIT_SECONDS = 5.0
"""For so long a mint waits for a pull before it says that it takes longer."""
_RETRY_SECONDS = 10.0
_LINE_BYTES = 64 << 10
_FINAL = re.compile(r"(?i)not found|unknown|denied|unauthorized|authentication|invalid (username|reference)|forbidden")
"""What a registry says where another attempt would end alike."""
_HINT = (
    "is the image's name right, and may YURT_REGISTRY_USERNAME with YURT_REGISTRY_PASSWORD pull it? Podman needs the "
    "registry in the name: localhost/yurt-worker:latest"
)


class WorkerImage:
    """The image of the workers at one engine.

    Args:
        engine: Has it, or pulls it.
        settings: Its name, and when to pull it.
        secrets: The registry's credentials.
        wait_seconds: For so long a mint waits for a pull.

    """

    def __init__(
        self,
        engine: DockerEngine,
        settings: DockerSettings,
        secrets: Secrets,
        *,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._engine = engine
        self._name = settings.image
        self._when = settings.pull
        self._username = secrets.yurt_registry_username
        self._password = secrets.yurt_registry_password.get_secret_value()
        self._wait_seconds = wait_seconds
        self._pull: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Return once the engine has the image as the settings want it.

        Raises:
            ProviderBusy: it is being pulled. The pull goes on, and a later call finds it done.
            ProviderRefused: the registry does not give it out.
            ProviderError: the engine or the registry failed.

        """
        if self._pull is None and (self._when == "never" or (self._when == "missing" and await self.is_there())):
            return
        pull = self._pull = self._pull or asyncio.create_task(self._pulled())
        await asyncio.wait({pull}, timeout=self._wait_seconds)
        if not pull.done():
            raise ProviderBusy(f"{self._name} is being pulled", retry_seconds=_RETRY_SECONDS)
        if self._pull is pull:
            self._pull = None
        await pull

    async def is_there(self) -> bool:
        """Whether the engine has it. Raises EngineError."""
        try:
            await self._engine.get(f"/images/{self._name}/json")
        except EngineError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def found(self) -> ProviderFinding:
        """Say whether the image is there or can be pulled. Raises EngineError."""
        if await self.is_there():
            return ProviderFinding(ok=True, message=f"{self._name} is there")
        if self._when == "never":
            hint = f"pull or build it there, or set pull: docker pull {self._name}"
            return ProviderFinding(ok=False, message=f'{self._name} is not there, and pull = "never"', hint=hint)
        try:
            async with self._engine.stream("GET", f"/distribution/{self._name}/json", headers=self._credentials()):
                return ProviderFinding(ok=True, message=f"{self._name} is not there, and can be pulled")
        except EngineError as error:
            if (await self._engine.version()).is_podman:  # it has no such call
                return ProviderFinding(ok=True, message=f"{self._name} is not there: the first machine has it pulled")
            return ProviderFinding(ok=False, message=self._in_words(error.message), hint=_HINT)

    async def aclose(self) -> None:
        """End a pull that is under way."""
        if self._pull is not None:
            self._pull.cancel()
            with contextlib.suppress(asyncio.CancelledError, ProviderError):
                await self._pull

    async def _pulled(self) -> None:
        query = {"fromImage": self._name}
        try:
            async with self._engine.stream(
                "POST", "/images/create", query, headers=self._credentials(), seconds=PULL_SECONDS
            ) as response:
                async for line in _lines(response.aiter_raw()):
                    if failure := line.get("error"):
                        raise EngineError(str(failure), status=500)
        except EngineError as error:
            raise self._failure(error) from None

    def _credentials(self) -> dict[str, str]:
        if not self._password:
            return {}
        registry = self._name.partition("/")[0]
        account = {"username": self._username, "password": self._password, "serveraddress": registry}
        return {"x-registry-auth": base64.urlsafe_b64encode(json.dumps(account).encode()).decode()}

    def _failure(self, error: EngineError) -> ProviderError:
        said = self._in_words(error.message)
        if error.status and _FINAL.search(error.message):
            return ProviderRefused(said, hint=_HINT)
        return ProviderError(said, hint=error.hint)

    def _in_words(self, said: str) -> str:
        hidden = said.replace(self._password, "…") if self._password else said
        return f"{self._name} was not pulled: {hidden[:400]}"


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream, one a line. What is none is left out: only errors are looked for."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        rest = rest[-_LINE_BYTES:]
        for line in whole:
            with contextlib.suppress(ValueError):
                if isinstance(read := json.loads(line), dict):
                    yield read
    with contextlib.suppress(ValueError):
        if rest.strip() and isinstance(read := json.loads(rest), dict):
            yield read

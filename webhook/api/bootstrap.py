"""Serves what makes a worker of any image with Python: installer, wheel and requirements, to machines that may join."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

import webhook.bootstrap
from webhook.api.auth import bearer, unauthorized
from webhook.api.connections import proven
from webhook.bootstrap.worker_wheel import worker_requirements, worker_wheel
from webhook.ledger.fleet import LedgerFleet

_SCRIPT = Path(webhook.bootstrap.__file__).with_name("install.py")


class BootstrapApi:
    """Endpoints for a machine whose image holds no worker. They check its one-time token and leave it for `hello`."""

    def __init__(self, fleet: LedgerFleet) -> None:
        self._fleet = fleet

    async def bootstrap_script(self, request: Request) -> Response:
        """Give the installer of the worker, a Python script."""
        return await self._given(request, _script)

    async def bootstrap_wheel(self, request: Request) -> Response:
        """Give the worker's wheel."""
        return await self._given(request, _wheel)

    async def bootstrap_requirements(self, request: Request) -> Response:
        """Give the requirements of the worker, pinned and with hashes."""
        return await self._given(request, _requirements)

    async def _given(self, request: Request, part: Callable[[], _BootstrapPart]) -> Response:
        if not await self._fleet.may_call_home(bearer(request)):
            raise unauthorized("this one-time token is unknown or has expired")
        proven(request.scope)
        given = await asyncio.to_thread(part)  # the first time it reads the whole package
        return Response(given.content, headers=given.headers, media_type=given.media_type)


@dataclass(frozen=True, slots=True)
class _BootstrapPart:
    content: bytes
    headers: Mapping[str, str]
    media_type: str


@functools.cache
def _script() -> _BootstrapPart:
    return _part(_SCRIPT.read_bytes(), "install.py", "text/x-python")


@functools.cache
def _wheel() -> _BootstrapPart:
    wheel = worker_wheel()
    return _part(wheel.content, wheel.name, "application/zip")


@functools.cache
def _requirements() -> _BootstrapPart:
    return _part(worker_requirements(), "requirements.txt", "text/plain")


def _part(content: bytes, name: str, media_type: str) -> _BootstrapPart:
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    headers = {"repr-digest": f"sha-256=:{digest}:", "content-disposition": f"attachment; filename={name}"}
    return _BootstrapPart(content, headers, media_type)

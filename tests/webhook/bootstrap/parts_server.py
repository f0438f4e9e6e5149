"""A control plane that serves chosen parts to a container's start command, and a wheel that is quickly installed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import webhook.bootstrap
from tests.stream_server import stream_server

INSTALLER = Path(webhook.bootstrap.__file__).with_name("install.py").read_bytes()
TOKEN = "one-time-token-0123456789"


def tiny_wheel(program: str) -> bytes:
    """A wheel of a package ``workers`` that runs a program."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("workers/__init__.py", "")
        archive.writestr("workers/__main__.py", program)
        archive.writestr("yurt-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: yurt\nVersion: 1\n")
        archive.writestr("yurt-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("yurt-1.dist-info/RECORD", "")
    return made.getvalue()


@dataclass
class PartsServer:
    parts: dict[str, bytes] = field(default_factory=lambda: {"script": INSTALLER, "requirements": b""})
    digests: dict[str, str] = field(default_factory=dict)
    """Other digests than the right ones."""
    first: list[bytes] = field(default_factory=list)
    """Answers to the first requests."""
    requests: list[str] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        async with stream_server(self._serve) as port:
            yield f"http://127.0.0.1:{port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        assert f"Authorization: Bearer {TOKEN}" in head
        writer.write(self.first.pop(0) if self.first else self._answer(head.split(" ")[1].rpartition("/")[2]))
        await writer.drain()

    def _answer(self, part: str) -> bytes:
        content = self.parts[part]
        digest = self.digests.get(part) or base64.b64encode(hashlib.sha256(content).digest()).decode()
        file = "attachment; filename=yurt-1-py3-none-any.whl"
        return status(200, {"repr-digest": f"sha-256=:{digest}:", "content-disposition": file}, content)


def status(code: int, headers: Mapping[str, str] | None = None, content: bytes = b"") -> bytes:
    lines = [f"{name}: {text}" for name, text in {**(headers or {}), "content-length": str(len(content))}.items()]
    return "\r\n".join([f"HTTP/1.1 {code} x", *lines, "connection: close", "", ""]).encode() + content

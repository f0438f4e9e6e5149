"""Serves the page's own style sheet, script and icon, under addresses that change with their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from webhook.api.http import HttpProblem

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Asset:
    """One file that comes with the page."""

    path: str
    content: bytes
    content_type: str


class Assets:
    """All files in ``webhook/page/assets``, read once."""

    def __init__(self) -> None:
        files = sorted(resources.files("webhook.page").joinpath("assets").iterdir(), key=lambda file: file.name)
        self.by_name: Mapping[str, Asset] = {file.name: _asset(file.name, file.read_bytes()) for file in files}
        self._by_path = {asset.path: asset for asset in self.by_name.values()}

    def path(self, name: str) -> str:
        """Where a file is served."""
        return self.by_name[name].path

    async def serve(self, request: Request) -> Response:
        """Answer with one file. Raises HttpProblem 404."""
        asset = self._by_path.get(request.url.path)
        if asset is None:
            raise HttpProblem(404, "not-found", "there is no such file: load the page again")
        return Response(
            asset.content,
            headers={
                "content-type": asset.content_type,
                "cache-control": "public, max-age=31536000, immutable",
                "x-content-type-options": "nosniff",
                "content-security-policy": "default-src 'none'",
                "cross-origin-resource-policy": "same-origin",
            },
        )


def _asset(name: str, content: bytes) -> Asset:
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    return Asset(f"/assets/{digest}/{name}", content, _TYPES[name.rpartition(".")[2]])

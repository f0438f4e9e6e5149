"""Serves ``yurt.js``, the ES module with which web pages of apps upload files and show results.

It holds no secret, so pages of any origin may load it, also while the control plane listens on loopback.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Sequence
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from webhook.api.http import HttpProblem, on_problem

_DIGITS = 12
_SHORT = "public, max-age=300"
_FOR_EVER = "public, max-age=31536000, immutable"
_GZIP_REFUSED = re.compile(r"gzip\s*;\s*q=0(\.0*)?\s*(,|$)")


class BrowserModule:
    """The module, read and compressed once. Its version is the beginning of its SHA-256."""

    def __init__(self) -> None:
        self.content = resources.files("webhook.javascript").joinpath("yurt.js").read_bytes()
        self.compressed = gzip.compress(self.content, 9, mtime=0)
        self.version = hashlib.sha256(self.content).hexdigest()[:_DIGITS]

    @property
    def versioned_path(self) -> str:
        """Where exactly this content is served, and never another one."""
        return f"/yurt-{self.version}.js"

    @property
    def routes(self) -> Sequence[Route]:
        """The routes of both paths."""
        return [
            Route("/yurt.js", self._serve_newest, methods=["GET"]),
            Route("/yurt-{version:str}.js", self._serve_version, methods=["GET"]),
        ]

    async def _serve_newest(self, request: Request) -> Response:
        response = self._response(request, _SHORT)
        response.headers["content-location"] = self.versioned_path
        return response

    async def _serve_version(self, request: Request) -> Response:
        if request.path_params["version"] != self.version:
            return on_problem(
                HttpProblem(404, "not-found", f"this control plane has the version {self.version}: load /yurt.js")
            )
        return self._response(request, _FOR_EVER)

    def _response(self, request: Request, cache_control: str) -> Response:
        etag = f'W/"{self.version}"'  # weak: it stands for the compressed and the plain content
        headers = {
            "access-control-allow-origin": "*",
            "cache-control": cache_control,
            "cross-origin-resource-policy": "cross-origin",
            "etag": etag,
            "vary": "accept-encoding",
            "x-content-type-options": "nosniff",
        }
        known = {tag.strip() for tag in request.headers.get("if-none-match", "").split(",")}
        if known & {etag, f'"{self.version}"', "*"}:
            return Response(status_code=304, headers=headers)
        content = self.content
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            content, headers["content-encoding"] = self.compressed, "gzip"
        return Response(content, headers=headers, media_type="text/javascript")


def _takes_gzip(accepted: str) -> bool:
    return "gzip" in accepted and not _GZIP_REFUSED.search(accepted)

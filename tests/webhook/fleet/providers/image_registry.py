"""A registry with one small image for engines that pull: the OCI distribution API, with Basic credentials."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NO_IMAGE = "127.0.0.1:1/yurt:1"
"""At a registry that cannot be asked."""
USERNAME, PASSWORD = "puller", "pull-secret-0123456789"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class ImageRegistry:
    """``pulls`` are the manifests that were given out."""

    port: int = 0
    pulls: list[str] = field(default_factory=list)

    @property
    def image(self) -> str:
        return f"127.0.0.1:{self.port}/you/worker:1"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _layer() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"hi"))
    return buffer.getvalue()


def _part(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _blobs() -> tuple[bytes, dict[str, bytes]]:
    layer = _layer()
    about = {"architecture": "amd64", "os": "linux", "config": {}}
    config = json.dumps({**about, "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]}}).encode()
    parts = {"config": _part(_CONFIG_TYPE, config), "layers": [_part(_LAYER_TYPE, layer)]}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST_TYPE, **parts}).encode()
    return manifest, {_digest(content): content for content in (config, layer)}


@contextmanager
def image_registry() -> Iterator[ImageRegistry]:
    registry, (manifest, blobs) = ImageRegistry(), _blobs()
    wanted = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()

    class RegistryHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("authorization") != wanted:
                self._answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
            elif self.path == "/v2/":
                self._answer(200, b"{}")
            elif self.path.startswith("/v2/you/worker/manifests/"):
                if self.command == "GET":
                    registry.pulls.append(self.path)
                known = self.path.rpartition("/")[2] in ("1", _digest(manifest))
                unknown = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
                self._answer(200 if known else 404, manifest if known else unknown, _MANIFEST_TYPE)
            else:
                found = blobs.get(self.path.rpartition("/")[2])
                self._answer(200 if found else 404, found or b"{}", "application/octet-stream")

        do_HEAD = do_GET  # noqa: N815 - http.server calls it by this name

        def _answer(self, status: int, content: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="tests"')
            self.send_header("Content-Type", kind)
            self.send_header("Docker-Distribution-API-Version", "registry/2.0")
            self.send_header("Docker-Content-Digest", _digest(content))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), RegistryHandler)
    registry.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()

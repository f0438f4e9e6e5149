"""Bundles of a test in a store, and the handlers and jobs that name them."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping

from tests.workers.control_plane import LIMITS, StubControlPlane
from tests.workers.models.range_server import RangeStore
from workers.protocol import BundleSource, Download, Handler


def archive(files: Mapping[str, str]) -> bytes:
    """A bundle's bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, text in files.items():
            file.writestr(zipfile.ZipInfo(name), text)
    return made.getvalue()


def stored(store: RangeStore, content: bytes) -> BundleSource:
    """Put a bundle into the store."""
    root = hashlib.sha256(content).hexdigest()
    store.put(f"bundles/{root}", content)
    return BundleSource(root=root, size=len(content), download=Download(url=store.link(f"bundles/{root}")))


def offered(store: RangeStore, plane: StubControlPlane, files: Mapping[str, str]) -> str:
    """Put a bundle into the store, of which the control plane knows. Returns its root."""
    source = stored(store, archive(files))
    plane.bundles[source.root] = source
    return source.root


def function(root: str, name: str = "app:one", *, calls: bool = False) -> Handler:
    """The handler that runs a function of a bundle."""
    return Handler(kind="function", options={"bundle": root, "function": name, "calls": calls}, limits=LIMITS)

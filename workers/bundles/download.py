"""Downloads a bundle, checks its digest, and unpacks it."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

from workers.models.connection import StoreConnection, StoreRefusal, refusal, unreachable
from workers.models.errors import DownloadCancelled, ModelUnavailable
from workers.protocol import MAX_BUNDLE_BYTES, BundleSource

_READ_BYTES = 1 << 20
_STALL_SECONDS = 30.0
_TRIES = 4
_MAX_FILES = 20_000
_ARCHIVE = "bundle.zip"


def fetch_bundle(
    folder: Path, source: Callable[[], BundleSource], stop: threading.Event, pause_seconds: float = 0.5
) -> None:
    """Fetch a bundle and unpack it into an empty folder.

    ``source`` asks the control plane where it is; ``pause_seconds`` are waited before another try, and doubled.

    Raises `ModelUnavailable`, `DownloadCancelled` and OSError.
    """
    archive = folder / _ARCHIVE
    for tried in range(1, _TRIES + 1):
        found = source()
        try:
            _receive(found, archive, stop)
            break
        except StoreRefusal as refused:
            if tried == _TRIES or not (refused.transient or refused.status == http.client.FORBIDDEN):
                raise ModelUnavailable(f"The bundle of the function cannot be fetched: {refused.message}.") from None
            if stop.wait(refused.after_seconds + pause_seconds * 2**tried):
                raise DownloadCancelled from None
    _unpack(archive, folder)
    archive.unlink()


def _receive(source: BundleSource, path: Path, stop: threading.Event) -> None:
    if source.size > MAX_BUNDLE_BYTES:
        raise ModelUnavailable(f"The bundle has {source.size:,} bytes: at most {MAX_BUNDLE_BYTES:,} are fetched.")
    connection = StoreConnection(_STALL_SECONDS)
    digest, received = hashlib.sha256(), 0
    try:
        response = connection.get(source.download.url, source.download.headers)
        if response.status != http.client.OK:
            raise refusal(response, "the request for a bundle")
        with path.open("wb") as file:
            while chunk := response.read(_READ_BYTES):
                received += len(chunk)
                if received > source.size:
                    break
                if stop.is_set():
                    raise DownloadCancelled
                digest.update(chunk)
                file.write(chunk)
    except http.client.HTTPException as error:
        raise unreachable(error) from None
    except (ConnectionError, TimeoutError) as error:
        raise unreachable(error) from None
    finally:
        connection.close()
    if received != source.size or digest.hexdigest() != source.root:
        raise StoreRefusal("the bundle is cut off, or has another content than its name says", transient=True)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as bundle:
            entries = bundle.infolist()
            if len(entries) > _MAX_FILES or sum(entry.file_size for entry in entries) > MAX_BUNDLE_BYTES:
                raise ModelUnavailable(f"The bundle unpacks to more than {MAX_BUNDLE_BYTES:,} bytes: deploy it anew.")
            for entry in entries:
                _unpack_one(bundle, entry, folder)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ModelUnavailable(f"The bundle is no archive that can be read ({error}): deploy it anew.") from None


def _unpack_one(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    steps = entry.filename.split("/")
    if any(step in ("", ".", "..") or "\\" in step or "\0" in step for step in steps):
        raise ValueError(f"{entry.filename[:100]!r} is no path of a bundle")
    target = folder.joinpath(*steps)
    target.parent.mkdir(parents=True, exist_ok=True)
    with bundle.open(entry) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, _READ_BYTES)

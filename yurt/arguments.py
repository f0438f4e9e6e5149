"""How a call's arguments travel: one file, a ZIP without compression with the JSON values and the caller's files.

::

    call.json     {"args": [{"value": …} | {"file": {"member": "files/0", "key": …, "content_type": …}}], "kwargs": {…}}
    files/0       the content of the first file
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from yurt.file import File

MAX_JSON_BYTES = 16 << 20
"""Of all values of one call together."""
MAX_FILES = 100
"""Of one call."""
MAX_BYTES = 512 << 20
"""Of a whole call: what a worker takes as an input by default."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_CALL = "call.json"
_READ_BYTES = 1 << 20


class BadArguments(ValueError):
    """What was read is no call."""


def encode(into: BinaryIO, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Write one call. The same arguments give the same bytes.

    Raises TypeError or ValueError where an argument is neither a `File` nor what JSON can carry, and OSError.
    """
    files: list[File] = []
    described = {
        "args": [_described(f"argument {number}", value, files) for number, value in enumerate(args, 1)],
        "kwargs": {name: _described(name, value, files) for name, value in kwargs.items()},
    }
    encoded = json.dumps(described, allow_nan=False).encode()
    if len(encoded) > MAX_JSON_BYTES:
        raise ValueError(f"the values have {len(encoded):,} bytes as JSON: at most {MAX_JSON_BYTES:,}. Use a yurt.File")
    if len(files) > MAX_FILES:
        raise ValueError(f"the call has {len(files)} files: at most {MAX_FILES}")
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_CALL, _LONG_AGO), encoded)
        for number, file in enumerate(files):
            entry = zipfile.ZipInfo(_member(number), _LONG_AGO)
            with file.path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, _READ_BYTES)


def decode(path: Path, folder: Path) -> tuple[list[Any], dict[str, Any]]:
    """Read one call, its files into ``folder``. Raises `BadArguments` and OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _decoded(archive, folder)
    except (zipfile.BadZipFile, KeyError, TypeError, AttributeError, ValueError, NotImplementedError) as error:
        raise BadArguments(f"the object is no call of a function: {error}") from None


def _decoded(archive: zipfile.ZipFile, folder: Path) -> tuple[list[Any], dict[str, Any]]:
    if archive.getinfo(_CALL).file_size > MAX_JSON_BYTES:
        raise BadArguments(f"{_CALL} is longer than {MAX_JSON_BYTES:,} bytes")
    described = json.loads(archive.read(_CALL))
    numbers = iter(range(MAX_FILES))
    args = [_value(archive, entry, folder, numbers) for entry in described["args"]]
    return args, {name: _value(archive, entry, folder, numbers) for name, entry in described["kwargs"].items()}


def _described(name: str, value: object, files: list[File]) -> dict[str, Any]:
    if isinstance(value, File):
        files.append(value)
        member = _member(len(files) - 1)
        return {"file": {"member": member, "key": value.key, "content_type": value.content_type}}
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} cannot travel: {error}. Give what JSON can carry, or a yurt.File") from None
    return {"value": value}


def _value(archive: zipfile.ZipFile, entry: Mapping[str, Any], folder: Path, numbers: Iterator[int]) -> object:
    if "file" not in entry:
        return entry["value"]
    described = entry["file"]
    target = folder / f"file-{next(numbers)}"
    with archive.open(described["member"]) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, _READ_BYTES)
    return File(target, str(described["key"]), "", str(described["content_type"]))


def _member(number: int) -> str:
    return f"files/{number}"

"""Turns a server's answer into files: a body of any type, or what a JSON answer holds.

A JSON answer's result may be a data URL, a list of them, a text, or anything else that JSON can say. Files that the
server put to ``{output_url:NAME}`` lie in the folder already; an answer without a result of its own adds nothing then.
cog answers 200 for a prediction that failed too, and says so in the JSON.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import mimetypes
import re
from pathlib import Path
from typing import Any

from workers.handlers import HandlerError
from workers.handlers.http.options import HttpOptions
from workers.protocol import MAX_OUTPUTS

JSON_BYTES = 128 << 20
"""Of an answer in JSON, which is held in memory."""
_CHUNK_BYTES = 1 << 20
_ERROR_CHARACTERS = 500
_FAILED = ("failed", "canceled")
"""``status`` of a prediction of cog that has ended without a result."""
_DATA_URL = re.compile(r"data:([a-z0-9.+-]+/[a-z0-9.+-]+)?(?:;[a-z0-9=-]+)*;base64,", re.IGNORECASE)
_SUFFIXES = {
    "image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/avif": ".avif", "image/heic": ".heic",
    "application/json": ".json", "text/plain": ".txt", "text/markdown": ".md", "application/x-ndjson": ".jsonl",
}  # fmt: skip


def write(answer: http.client.HTTPResponse, folder: Path, options: HttpOptions) -> None:
    """Write the files of an answer. Raises ``HandlerError`` where it cannot be understood, OSError at a limit."""
    essence = answer.headers.get_content_type() if answer.headers.get("Content-Type") else ""
    if essence == "application/json" or essence.endswith("+json"):
        value = _parsed(answer)
        if options.preset == "cog":
            _refuse_failed(value)
        _write_json(_result(value, options.answer), folder, options)
    else:
        _write_body(answer, folder / f"{options.name}{_suffix(essence)}")


def _parsed(answer: http.client.HTTPResponse) -> Any:
    body = answer.read(JSON_BYTES + 1)
    if len(body) > JSON_BYTES:
        raise HandlerError("server-answer", f"The server's JSON is longer than {JSON_BYTES >> 20} MiB.")
    _check_whole(answer)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _nonsense("says that it is JSON, and is none") from error


def _refuse_failed(prediction: Any) -> None:
    """Raise ``HandlerError`` where cog says that it has made no result of the file."""
    status = prediction.get("status") if isinstance(prediction, dict) else None
    if status not in _FAILED:
        return
    error = prediction.get("error")
    text = " ".join(str(error).split())[:_ERROR_CHARACTERS] if error else ""
    said = f"The model's server says that the prediction is {status}" + (f": {text}" if text else ".")
    raise HandlerError("server-error", said, retry=True)


def _result(value: Any, path: str) -> Any:
    """What stands at a path of names and positions. Raises ``HandlerError`` where there is nothing."""
    for step in path.split(".") if path else ():
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            raise HandlerError("server-answer", f"The server's answer has no {path}: it has none at {step!r}.")
    return value


def _write_json(value: Any, folder: Path, options: HttpOptions) -> None:
    name = options.name
    if value is None and any(folder.iterdir()):
        return  # the server has put its results to the URLs that it got
    if value is None and options.answer:
        raise HandlerError("server-answer", f"The server's answer has nothing at {options.answer}: it is null there.")
    if isinstance(value, list) and value and all(_is_data(item) for item in value):
        if len(value) > MAX_OUTPUTS:
            message = f"The server answered {len(value)} files, at most {MAX_OUTPUTS} are published."
            raise HandlerError("too-many-outputs", message)
        for number, item in enumerate(value):
            _write_data(item, folder, f"{name}-{number}")
    elif _is_data(value):
        _write_data(value, folder, name)
    elif isinstance(value, str):
        (folder / f"{name}.txt").write_text(value, encoding="utf-8", errors="replace")
    else:
        text = json.dumps(value, ensure_ascii=False) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8", errors="replace")


def _nonsense(what: str) -> HandlerError:
    return HandlerError("server-answer", f"The server's answer {what}.", retry=True)


def _is_data(value: object) -> bool:
    return isinstance(value, str) and _DATA_URL.match(value) is not None


def _write_data(url: str, folder: Path, name: str) -> None:
    found = _DATA_URL.match(url)
    assert found, "looked at before"
    try:
        content = base64.b64decode(url[found.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _nonsense("has a data URL that is not base64") from error
    (folder / f"{name}{_suffix((found[1] or '').lower())}").write_bytes(content)


def _write_body(answer: http.client.HTTPResponse, path: Path) -> None:
    with path.open("wb") as file:
        while chunk := answer.read(_CHUNK_BYTES):
            file.write(chunk)
        _check_whole(answer)
        if file.tell() == 0:
            path.unlink()


def _check_whole(answer: http.client.HTTPResponse) -> None:
    """Raise IncompleteRead where a body is shorter than announced: ``read`` with a size says nothing of it."""
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def _suffix(essence: str) -> str:
    return _SUFFIXES.get(essence) or mimetypes.guess_extension(essence, strict=True) or ".bin"

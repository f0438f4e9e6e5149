"""Makes one request for a file to the server on this machine, and turns its answer into outputs."""

from __future__ import annotations

import errno
import http.client
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from workers.handlers import HandlerError, Job, Result
from workers.handlers.http import answers
from workers.handlers.http.options import HttpOptions, fill, filled
from workers.handlers.outputs import every_file
from workers.headers import asked_wait_seconds

HOST = "127.0.0.1"
LONGEST_WAIT_SECONDS = 60.0
"""That is waited because an answer asks for it."""
_WAIT_SECONDS = 2.0
"""Before another request, where the server is busy and does not say for how long."""
_BUSY = (429, 503)
_COG_IS_BUSY = 409
"""How cog says that it works on a prediction already."""
_BUSY_TRIES = 100
_CHUNK_BYTES = 1 << 20
_TEXT_BYTES = 2_000


def handle(job: Job) -> Result:
    """Ask the server, and publish what it answers, or what it put to the URLs that it was given.

    Raises ``HandlerError`` where it refuses the file, fails, or answers what cannot be published.
    """
    options = HttpOptions.model_validate(dict(job.options))
    for _ in range(_BUSY_TRIES):
        wait_seconds = _ask(job, options)
        if wait_seconds is None:
            return Result(outputs=every_file(job.output))
        time.sleep(wait_seconds)
    raise HandlerError("server-busy", "The model's server was busy each time that it was asked.", retry=True)


def _ask(job: Job, options: HttpOptions) -> float | None:
    """Make one request; return how long to wait before the next where the server is busy."""
    connection = http.client.HTTPConnection(HOST, options.port)  # the job's own time limit ends it
    try:
        _send(connection, job, options)
        answer = connection.getresponse()
        if answer.status in _BUSY or (answer.status == _COG_IS_BUSY and options.preset == "cog"):
            return pause_seconds(answer.headers.get("Retry-After"))
        if answer.status >= 300:
            raise _refusal(answer)
        answers.write(answer, job.output, options)
    except (http.client.HTTPException, ConnectionError) as error:
        raise HandlerError(
            "server-gone", f"The model's server ended the connection ({type(error).__name__}).", retry=True
        ) from error
    except OSError as error:
        if error.errno in (errno.EFBIG, errno.ENOSPC, errno.ENOMEM):
            raise  # a limit of the job: its process says which
        message = f"The model's server cannot be reached: {error.strerror}."
        raise HandlerError("server-gone", message, retry=True) from error
    finally:
        connection.close()
    return None


def _send(connection: http.client.HTTPConnection, job: Job, options: HttpOptions) -> None:
    values = {"input_url": f"{job.url}input", "key": job.key, "etag": job.etag}
    outputs_url = f"{job.url}output/"
    encoded = {name: quote(value, safe="/:" if name == "input_url" else "") for name, value in values.items()}
    path = fill(options.path, encoded, outputs_url)
    headers = {name: _header(fill(value, values, outputs_url)) for name, value in options.headers.items()}
    match options.body:
        case "json" if options.method == "GET":
            connection.request(options.method, path, headers=headers)
        case "json":
            body = json.dumps(filled(options.json_body(), values, outputs_url)).encode()
            connection.request(options.method, path, body, {"Content-Type": "application/json", **headers})
        case "file":
            length = {"Content-Length": str(job.input.stat().st_size)}
            with job.input.open("rb") as content:
                connection.request(
                    options.method, path, content, {"Content-Type": "application/octet-stream", **headers, **length}
                )
        case "form":
            head, tail, form_type = _form(options.field)
            length = {"Content-Length": str(len(head) + job.input.stat().st_size + len(tail))}
            body_parts = _parts(job, head, tail)
            connection.request(options.method, path, body_parts, {**headers, **form_type, **length})


def _header(value: str) -> str:
    """A header's value: what HTTP cannot carry, of a key, is percent-encoded."""
    return value if value.isascii() and value.isprintable() else quote(value, safe="/ ")


def _form(field: str) -> tuple[bytes, bytes, Mapping[str, str]]:
    """What comes before and after the file in a form, and the header that says so (RFC 7578)."""
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="input"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"
    return head.encode(), tail.encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def _parts(job: Job, head: bytes, tail: bytes) -> Iterator[bytes]:
    yield head
    with job.input.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            yield chunk
    yield tail


def pause_seconds(retry_after: str | None) -> float:
    """Return for how long a busy server is left alone, whose answer has this ``Retry-After``."""
    asked = asked_wait_seconds(retry_after)
    return min(max(_WAIT_SECONDS if asked is None else asked, 0.1), LONGEST_WAIT_SECONDS)


def _refusal(answer: http.client.HTTPResponse) -> HandlerError:
    text = " ".join(answer.read(_TEXT_BYTES).decode(errors="replace").split())[:500]
    said = f"answered {answer.status}" + (f": {text}" if text else ".")
    if answer.status >= 500:
        return HandlerError("server-error", f"The model's server {said}", retry=True)
    if answer.status < 400:
        return HandlerError("server-refused", f"The model's server {said} Redirects are not followed.")
    return HandlerError("server-refused", f"The model's server refuses the file: it {said}")

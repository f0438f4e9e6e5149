"""Destroys the machine on which this process runs, by its provider's API, with a key that opens this machine alone.

Vast puts ``CONTAINER_ID`` and ``CONTAINER_API_KEY`` into every container, RunPod ``RUNPOD_POD_ID`` and
``RUNPOD_API_KEY``. Neither key opens anything else of the account. Other providers end a machine with its process.

Only a machine that Yurt minted is destroyed: the provider that orders it says so by ``YURT_SLAYS_ITSELF``. On a machine
that a person rented, the provider's variables are there too, and perhaps other work.

Only the standard library, imported here and now: when this is needed, the machine may have no memory left.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - looked up at the first name that is resolved
import json
import os
import re
import signal
import ssl
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import Enum
from types import FrameType
from typing import Any, NoReturn
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from workers.outgoing import causes, sends_in_clear, why_unreachable
from workers.own_process import SLAYS_ITSELF

API_URL = "YURT_SLAY_URL"
"""Environment variable with another base of that API, for a provider's stand-in."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_KEY = re.compile(r"[!-~]{8,4096}")
_CODE = re.compile(r"[a-z0-9_-]{1,60}")
_ANSWER_BYTES = 64 * 1024


class SlayingResult(Enum):
    """What an attempt has come to."""

    GONE = "gone"
    """The provider does not know the machine any more."""
    AGREED = "agreed"
    """The provider will destroy it."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SlayingAttempt:
    """One attempt to destroy the machine. Its reason holds neither the key nor text of the answer."""

    result: SlayingResult
    reason: str


class CannotSlayItself(Exception):
    """The machine was minted to slay itself, and cannot. The message names the variable."""


@dataclass(frozen=True, slots=True)
class OwnMachine:
    """The machine on which this process runs, as its provider's API knows it."""

    kind: str
    url: str
    """Base of the API, without a slash at its end."""
    id: str
    key: str = field(repr=False)

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> OwnMachine | None:
        """Read what the provider put into ``environ`` and remove the keys there. None: not minted to slay itself.

        Raises `CannotSlayItself`.
        """
        if not (kind := environ.pop(SLAYS_ITSELF, "")):
            return None
        url = environ.pop(API_URL, "")
        keys = {name: environ.pop(api.key_variable, "") for name, api in _APIS.items()}
        if (api := _APIS.get(kind)) is None:
            raise CannotSlayItself(f"{SLAYS_ITSELF} is {kind[:40]!r}: this version knows {' and '.join(_APIS)}")
        if not _ID.fullmatch(id := environ.get(api.id_variable, "")):
            raise CannotSlayItself(f"{api.id_variable} is missing or malformed")
        if not _KEY.fullmatch(keys[kind]):
            raise CannotSlayItself(f"{api.key_variable} is missing or malformed")
        return cls(kind, _checked(url or api.url), id, keys[kind])

    def destroy(self, seconds: float) -> SlayingAttempt:
        """Ask the provider once to destroy this machine, for so many seconds at most. Never raises.

        Call on the main thread: the limit is an alarm, so that no answer that trickles can go beyond it.
        """
        api = _APIS[self.kind]
        try:
            with _alarm(seconds):
                status, answer = _exchange(api.request(self), seconds)
            return SlayingAttempt(api.result(status, answer), f"HTTP {status} {_code_of(answer)}".rstrip())
        except Exception as error:  # the next attempt may succeed
            late = any(isinstance(cause, TimeoutError) for cause in causes(error))
            return SlayingAttempt(SlayingResult.FAILED, "no answer in time" if late else why_unreachable(error))


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or sends_in_clear(url):
        raise CannotSlayItself(f"{API_URL} has to be an https:// URL: the key would be sent to it in clear")
    return url.rstrip("/")


# ── the providers' APIs ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _SlayingApi:
    url: str
    id_variable: str
    key_variable: str
    request: Callable[[OwnMachine], Request]
    result: Callable[[int, Mapping[str, Any]], SlayingResult]


def _vast_request(machine: OwnMachine) -> Request:
    return _request(machine, "DELETE", f"/instances/{machine.id}/", {})


def _vast_result(status: int, answer: Mapping[str, Any]) -> SlayingResult:
    # A key that is refused is answered 404 as well, with a code of its own. A 404 without JSON is not Vast's.
    unknown = status in (404, 410) and bool(answer) and answer.get("error") != "auth_error"
    if unknown or answer.get("error") == "no_such_instance":
        return SlayingResult.GONE
    return SlayingResult.AGREED if 200 <= status < 300 and answer.get("success") is True else SlayingResult.FAILED


_TERMINATE = "mutation terminatePod($podId: String!) { podTerminate(input: {podId: $podId}) }"
"""As ``runpodctl remove pod``, which each pod has with the same key, sends it."""


def _runpod_request(machine: OwnMachine) -> Request:
    return _request(machine, "POST", "/graphql", {"query": _TERMINATE, "variables": {"podId": machine.id}})


def _runpod_result(status: int, answer: Mapping[str, Any]) -> SlayingResult:
    if errors := answer.get("errors"):
        return (
            SlayingResult.GONE
            if re.search(r"(?i)not found|does not exist", json.dumps(errors))
            else SlayingResult.FAILED
        )
    return (
        SlayingResult.AGREED if status == 200 and "podTerminate" in (answer.get("data") or ()) else SlayingResult.FAILED
    )


_APIS: Mapping[str, _SlayingApi] = {
    "vast": _SlayingApi(
        "https://console.vast.ai/api/v0", "CONTAINER_ID", "CONTAINER_API_KEY", _vast_request, _vast_result
    ),
    "runpod": _SlayingApi("https://api.runpod.io", "RUNPOD_POD_ID", "RUNPOD_API_KEY", _runpod_request, _runpod_result),
}


# ── one exchange ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _request(machine: OwnMachine, method: str, path: str, body: Mapping[str, Any]) -> Request:
    headers = {"Authorization": f"Bearer {machine.key}", "Content-Type": "application/json", "User-Agent": "yurt"}
    return Request(machine.url + path, json.dumps(body).encode(), headers, method=method)  # noqa: S310 - checked


def _exchange(request: Request, seconds: float) -> tuple[int, Mapping[str, Any]]:
    """Send a request; return the answer's status and its JSON object, empty where it is none."""
    with _opener(request).open(request, timeout=seconds) as response:
        content = response.read(_ANSWER_BYTES)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        return response.status, answer if isinstance(answer, dict) else {}


def _opener(request: Request) -> OpenerDirector:
    """Follows ``HTTPS_PROXY`` and the like, but never to this machine; follows no redirect: the key would go along."""
    local = request.type == "http"  # anything else has to be encrypted
    opener = OpenerDirector()
    for handler in (ProxyHandler({} if local else None), HTTPHandler(), HTTPSHandler(context=_TLS)):
        opener.add_handler(handler)
    return opener


def _trusted() -> ssl.SSLContext:
    """The authorities that the agent trusts too; see `workers.tls`, which would load an HTTP client for it."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context()
    try:
        import certifi
    except ImportError:  # the worker is being installed: those of the image
        return ssl.create_default_context()
    return ssl.create_default_context(cafile=certifi.where())


_TLS = _trusted()


def _code_of(answer: Mapping[str, Any]) -> str:
    code = answer.get("error")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError inside the block once it has taken so long."""
    before = signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _time_is_up(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError

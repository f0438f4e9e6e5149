"""Calls the admin API of the control plane over HTTP."""

from __future__ import annotations

import os
from typing import Any

import httpx

from webhook.cli.options import fail
from workers import tls
from workers.outgoing import ALLOW_HTTP, PAST_PROXIES, sends_in_clear, why_unreachable

_TIMEOUT_SECONDS = 15.0
_TOO_MANY = 429


class ControlPlaneUnreachable(Exception):
    """The control plane did not answer, or refused. The message says what to do, and holds no token."""


class ControlPlaneRefused(ControlPlaneUnreachable):
    """The control plane answered that the request is wrong (4xx): it will again."""


def ask(method: str, url: str, path: str, token: str, body: object = None) -> dict[str, Any]:
    """Send a request; the JSON object of the response. Raises ControlPlaneUnreachable, ControlPlaneRefused."""
    if sends_in_clear(url) and os.environ.get(ALLOW_HTTP) != "1":
        raise ControlPlaneUnreachable(
            f"{url} is plain http:// to another machine: the admin token could be read on the way. Use https://, or "
            f"set {ALLOW_HTTP}=1 where only machines that you trust are in between"
        )
    try:
        with httpx.Client(verify=tls.context(), mounts=PAST_PROXIES, timeout=_TIMEOUT_SECONDS) as client:
            headers = {"authorization": f"Bearer {token}"}
            response = client.request(method, url.rstrip("/") + path, headers=headers, json=body)
        content = response.json()
    except httpx.InvalidURL:
        raise ControlPlaneUnreachable(f"{url!r} is no URL: set --url or YURT_URL to the control plane's") from None
    except httpx.HTTPError as error:
        raise ControlPlaneUnreachable(
            f"no control plane answers at {url} ({why_unreachable(error)}). Is `yurt serve` running, and --url right?"
        ) from None
    except ValueError:
        raise ControlPlaneUnreachable(
            f"{url} answered {response.status_code} without JSON, so it is no control plane: check --url and YURT_URL"
        ) from None
    if response.is_success and isinstance(content, dict):
        return content
    message = content.get("message", "") if isinstance(content, dict) else ""
    refused = ControlPlaneRefused if response.is_client_error and response.status_code != _TOO_MANY else None
    raise (refused or ControlPlaneUnreachable)(
        f"the control plane answered {response.status_code}: {message or 'no reason given'}"
    )


def call(method: str, url: str, path: str, token: str, body: object = None) -> dict[str, Any]:
    """Like ``ask``, but ends the program with the message of a ControlPlaneUnreachable, and exit status 1."""
    try:
        return ask(method, url, path, token, body)
    except ControlPlaneUnreachable as error:
        fail(str(error), status=1)

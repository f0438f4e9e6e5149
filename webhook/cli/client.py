"""Calls of the control plane's endpoints for people."""

from __future__ import annotations

from typing import Any

import httpx

from webhook.cli.options import fail

_TIMEOUT_SECONDS = 15.0


class ControlPlaneUnreachable(Exception):
    """The control plane did not answer, or not as one."""


def ask(method: str, url: str, path: str, token: str, body: object = None) -> dict[str, Any]:
    """The JSON answer. Raises Unreachable, with what to do about it; it holds no token."""
    try:
        response = httpx.request(
            method,
            url.rstrip("/") + path,
            headers={"authorization": f"Bearer {token}"},
            json=body,
            timeout=_TIMEOUT_SECONDS,
        )
        said = response.json()
    except httpx.InvalidURL:
        raise ControlPlaneUnreachable(f"{url!r} is no URL: set --url or YURT_URL to the control plane's") from None
    except httpx.HTTPError as error:
        raise ControlPlaneUnreachable(
            f"no control plane answers at {url} ({type(error).__name__}). Is `yurt serve` running, and --url right?"
        ) from None
    except ValueError:
        raise ControlPlaneUnreachable(
            f"{url} answered {response.status_code}, and not as a control plane does"
        ) from None
    if response.is_success and isinstance(said, dict):
        return said
    message = said.get("message", "") if isinstance(said, dict) else ""
    raise ControlPlaneUnreachable(f"the control plane answered {response.status_code}: {message or 'no reason given'}")


def call(method: str, url: str, path: str, token: str, body: object = None) -> dict[str, Any]:
    """Like ask, but ends the program with the message."""
    try:
        return ask(method, url, path, token, body)
    except ControlPlaneUnreachable as error:
        fail(str(error), status=1)

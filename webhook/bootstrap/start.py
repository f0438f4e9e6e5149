"""The start command of a container without Yurt: fetches the installer from the control plane, and runs it.

Its text is passed to ``python3 -c`` without its types and docstrings (`start_command`), so it is short, needs the
standard library alone, and is read by every Python 3: an old one has to say that it is too old. What it fetches is
compared with the digest that came with it. It follows no redirect, which would be given the token.
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NoReturn

SECONDS = 600
"""To reach the control plane: as long as a worker tries it. ``YURT_BOOTSTRAP_SECONDS`` is another limit."""
MOST_BYTES = 64000000


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_: Any) -> None:
        """Make no further request."""


def fail(message: str) -> NoReturn:
    """End the process with one line."""
    sys.exit("yurt bootstrap: " + message)


def is_near(url: str) -> bool:
    """Whether requests to a URL stay on this machine."""
    host = (urllib.parse.urlsplit(url).hostname or "").lower()
    return host in ("localhost", "::1") or host.startswith("127.")


def fetch(part: str) -> tuple[bytes, str]:
    """Return a part's content and the name of its file, or end the process."""
    url = os.environ["YURT_URL"].rstrip("/") + "/v1/bootstrap/" + part
    if not (url.startswith("https://") or is_near(url) or os.environ.get("YURT_ALLOW_HTTP") == "1"):
        fail("YURT_URL is plain http:// to another machine: the token could be read on the way")
    until = time.monotonic() + float(os.environ.get("YURT_BOOTSTRAP_SECONDS") or SECONDS)
    answer, why = attempt(url, part)
    while answer is None:
        if time.monotonic() > until:
            fail("the control plane cannot be reached: " + why)
        time.sleep(2)
        answer, why = attempt(url, part)
    content, headers = answer
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    if headers.get("Repr-Digest") != "sha-256=:" + digest + ":":
        fail("the digest of the " + part + " is wrong: it was changed on the way")
    return content, headers.get("Content-Disposition", "").rpartition("filename=")[2]


def attempt(url: str, part: str) -> tuple[Any, str]:
    """Ask once. None and why, where it may be asked again."""
    proxies = [urllib.request.ProxyHandler({})] if is_near(url) else []
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + os.environ["YURT_TOKEN"]})
    try:
        with urllib.request.build_opener(NoRedirect, *proxies).open(request, timeout=30) as answer:
            return (answer.read(MOST_BYTES), answer.headers), ""
    except urllib.error.HTTPError as error:
        if error.code not in (429, 500, 502, 503, 504):
            fail("the control plane does not give the " + part + ": HTTP " + str(error.code))
        return None, "HTTP " + str(error.code)
    except Exception as error:
        why = type(getattr(error, "reason", error)).__name__
        if "CertVerification" in why:
            fail("this image does not trust the control plane's certificate: install ca-certificates into it")
        return None, why


def main() -> None:
    """Fetch the installer and run it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # process 1 of a container ignores it otherwise
    if sys.version_info < (3, 11):
        fail("Python 3.11 or newer is needed, this image's python3 is " + sys.version.split()[0])
    for name in ("YURT_URL", "YURT_TOKEN"):
        if not os.environ.get(name):
            fail(name + " is missing")
    scope: dict[str, Any] = {"__name__": "yurt_bootstrap"}
    exec(compile(fetch("script")[0], "yurt-bootstrap", "exec"), scope)
    scope["main"](fetch)


if __name__ == "__main__":
    main()

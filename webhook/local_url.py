"""The URL of an address that is listened on, for this machine."""

from __future__ import annotations


def local_url(host: str, port: int) -> str:
    """The URL by which this machine reaches itself."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

"""Loads the certificate authorities that HTTPS connections trust."""

from __future__ import annotations

import functools
import ssl

import httpx


@functools.cache
def context() -> ssl.SSLContext:
    """Return one context for all clients: reading the certificates takes longer than all else at start-up.

    The authorities of ``certifi``, or of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` where those are set.
    """
    return httpx.create_ssl_context()

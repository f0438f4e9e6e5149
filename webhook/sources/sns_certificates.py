"""Remembers the certificates of Amazon SNS that have signed genuine messages, also over restarts.

A message whose certificate is known is judged without a call, so it is judged whatever strangers send meanwhile.
"""

from __future__ import annotations

import contextlib
import time
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from webhook.ledger.database import LedgerUnavailable

MOST = 32
"""Certificates that are remembered, the latest. SNS has one in each region, and changes it once in months."""
_LOOK_SECONDS = 10.0
"""An unknown name is looked up again after so long: another replica may have found its certificate good."""
UNREADABLE_CERTIFICATE = (ValueError, x509.InvalidVersion, UnsupportedAlgorithm)
"""What reading a certificate raises."""


class KeptCertificates(Protocol):
    """Where certificates outlive the process."""

    async def load(self) -> list[tuple[str, bytes]]:
        """Return URL and PEM of each, the latest first. Raises LedgerUnavailable."""

    async def keep(self, url: str, pem: bytes) -> None:
        """Keep one, and the latest others. Raises LedgerUnavailable."""


class SnsCertificates:
    """Certificates by URL, each of which has signed a genuine message."""

    def __init__(self, kept: KeptCertificates | None = None) -> None:
        self._kept = kept
        self._known: dict[str, x509.Certificate] = {}
        self._looked_at = -_LOOK_SECONDS

    async def get(self, url: str) -> x509.Certificate | None:
        """Return a certificate that is known to be good; None where it has to be fetched and tried."""
        if url not in self._known and time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = time.monotonic()
            await self._look()
        return self._known.get(url)

    async def add(self, url: str, pem: bytes) -> None:
        """Remember a certificate that has signed a genuine message."""
        self._remember(url, pem)
        if self._kept is not None:
            with contextlib.suppress(LedgerUnavailable):  # it is fetched once more after a restart
                await self._kept.keep(url, pem)

    async def _look(self) -> None:
        if self._kept is None:
            return
        with contextlib.suppress(LedgerUnavailable):
            for url, pem in reversed(await self._kept.load()):
                if url not in self._known:
                    self._remember(url, pem)

    def _remember(self, url: str, pem: bytes) -> None:
        with contextlib.suppress(*UNREADABLE_CERTIFICATE):
            self._known[url] = x509.load_pem_x509_certificate(pem)
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]

"""Keeps certificates of Amazon SNS that have signed genuine messages."""

from __future__ import annotations

from webhook.ledger.ledger import Ledger


class LedgerCertificates:
    """Certificates in the ledger, the latest used."""

    def __init__(self, ledger: Ledger, most: int) -> None:
        self._ledger = ledger
        self._most = most

    async def load(self) -> list[tuple[str, bytes]]:
        """Return URL and PEM of each, the latest first. Raises LedgerUnavailable."""
        return [(row["url"], bytes(row["pem"])) for row in await self._ledger.fetch("certificates")]

    async def keep(self, url: str, pem: bytes) -> None:
        """Keep one, and the latest others. Raises LedgerUnavailable."""
        await self._ledger.fetch("keep_certificate", url, pem, self._most)

"""Makes and uses up the codes of sign-in links: each signs one browser in to the page, once."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from webhook.ledger.ledger import Ledger

MAX_CODE_LENGTH = 100
"""Characters that a code of a request may have. One that was made is shorter."""


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A code that was just made. It is shown once: the ledger holds its hash."""

    code: str = field(repr=False)
    expires_at: datetime


class SignInLinks:
    """Sign-in links of a ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def make(self, valid_seconds: float) -> SignInLink:
        """Make a code that can be used once, for so long."""
        code = secrets.token_urlsafe(24)
        [row] = await self._ledger.fetch("make_sign_in_link", _hash(code), valid_seconds)
        return SignInLink(code, row["expires_at"])

    async def use(self, code: str) -> bool:
        """Use a code up. False: it is unknown, has expired, or was used before."""
        return bool(await self._ledger.fetch("use_sign_in_link", _hash(code)))


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "replace")).digest()

"""Sign-in cookies: who a browser is, signed with HMAC-SHA256. There is no password: this is an example."""

from __future__ import annotations

import hmac
import time
import unicodedata
from http.cookies import SimpleCookie

COOKIE = "photo_app"
SIGNED_IN_SECONDS = 30 * 86_400
LONGEST_NAME = 40


class NameRefused(Exception):
    """A name cannot be used. The message says why, to the person who gave it."""


def checked_name(text: str) -> str:
    """A name as it is shown: normalised, without outer spaces and control characters. Raises NameRefused."""
    name = unicodedata.normalize("NFC", text).strip()
    if not name or not name.isprintable():
        raise NameRefused("Write a name of letters, digits or spaces.")
    if len(name) > LONGEST_NAME:
        raise NameRefused(f"Write a name of {LONGEST_NAME} characters at most.")
    return name


class SignInCookies:
    """Makes and reads cookies.

    Args:
        key: Secret by which they are signed. With another one all people are signed out.
        secure: Whether browsers reach the app by https alone.

    """

    def __init__(self, key: bytes, *, secure: bool) -> None:
        self._key = key
        self._secure = secure

    def set(self, person: int) -> str:
        """The value of Set-Cookie that signs a browser in."""
        value = f"{person}.{int(time.time()) + SIGNED_IN_SECONDS}"
        return self._header(f"{value}.{self._signature(value)}", SIGNED_IN_SECONDS)

    def clear(self) -> str:
        """The value of Set-Cookie that signs a browser out."""
        return self._header("", 0)

    def read(self, cookie: str) -> int | None:
        """The person's number. None: the cookie was not signed here, or has expired."""
        value, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(value).encode()):
            return None
        person, _, ends_at = value.partition(".")
        return int(person) if int(ends_at) > time.time() else None

    def _header(self, value: str, seconds: int) -> str:
        cookie: SimpleCookie = SimpleCookie({COOKIE: value})
        morsel = cookie[COOKIE]
        morsel["path"], morsel["max-age"], morsel["httponly"], morsel["samesite"] = "/", seconds, True, "Lax"
        if self._secure:
            morsel["secure"] = True
        return morsel.OutputString()

    def _signature(self, value: str) -> str:
        return hmac.digest(self._key, f"signed in {value}".encode(), "sha256").hex()

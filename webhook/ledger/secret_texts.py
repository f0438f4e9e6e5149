"""Draws secrets that scanners recognise: a prefix, 32 random bytes and a checksum, in letters and digits.

A text that was cut off or mistyped is refused without a question to the database.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BYTES = 32
_RANDOM_CHARACTERS = 43
_CHECKSUM_CHARACTERS = 6


def new_secret(prefix: str) -> str:
    """Draw the text of a new secret."""
    drawn = _base62(int.from_bytes(secrets.token_bytes(_RANDOM_BYTES)), _RANDOM_CHARACTERS)
    return f"{prefix}{drawn}{_checksum(drawn)}"


def is_well_formed(secret: str, prefix: str) -> bool:
    """Whether a text can be a secret with this prefix: prefix, length and checksum fit."""
    drawn, checksum = secret[len(prefix) : -_CHECKSUM_CHARACTERS], secret[-_CHECKSUM_CHARACTERS:]
    return (
        secret.startswith(prefix)
        and len(drawn) == _RANDOM_CHARACTERS
        and drawn.isascii()
        and drawn.isalnum()
        and checksum == _checksum(drawn)
    )


def hash_of(secret: str) -> bytes:
    """SHA-256 of a secret: it is long and random, so that a slow hash would protect nothing."""
    return hashlib.sha256(secret.encode()).digest()


def _checksum(drawn: str) -> str:
    return _base62(zlib.crc32(drawn.encode()), _CHECKSUM_CHARACTERS)


def _base62(number: int, characters: int) -> str:
    digits = []
    for _ in range(characters):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))

"""Writes out the characters of a text that act on a screen or hide: control, formatting and bidirectional characters.

Keys, messages and logs come from files, workers and stores. Shown as they are they could retitle a terminal, hide what
follows, or show it in another order.
"""

from __future__ import annotations

_KEPT = "\n\t"


def escaped(text: str, kept: str = _KEPT) -> str:
    """Write out the characters of a text that a screen acts on or hides, but for those in ``kept``: ``\\u202e``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

"""Asks before a change: what it does, and the command that does the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from webhook.definitions.changes import DefinitionChange
from webhook.page.access import PageAuth
from webhook.page.rendering import Rendering


@dataclass(frozen=True, slots=True)
class Question:
    """A change that was ordered and not confirmed yet."""

    title: str
    text: str
    """What it does."""
    command: str
    button: str
    """Confirms it; empty: there is nothing to change."""
    action: str
    """Path to which the confirmation is sent."""
    back: str
    """Path of the view that it was ordered in."""
    fields: Sequence[tuple[str, str]] = ()
    """To send with the confirmation."""
    dangerous: bool = False
    """Whether what it does cannot be taken back."""
    changes: Sequence[DefinitionChange] = ()
    """Definitions that it changes."""


def ask(rendering: Rendering, auth: PageAuth, request: Request, question: Question) -> Response:
    """Answer with a question: its form sends the same order again, with the field ``confirmed``."""
    return rendering.page("ask.html", auth.session(request), question=question)

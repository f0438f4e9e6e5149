"""Shows tokens of apps, makes them, and revokes them."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from webhook.api.http import HttpProblem, checked_model
from webhook.api.tokens import TokenApi, TokenFilter, TokenRequest
from webhook.page.access import Form, PageAuth
from webhook.page.commands import command
from webhook.page.questions import Question, ask
from webhook.page.rendering import Rendering, address, plain_sentence, redirect
from webhook.page.views import notice, view_query

_DAY_SECONDS = 86_400
LIFETIMES: Mapping[str, float | None] = {
    "1d": _DAY_SECONDS, "30d": 30 * _DAY_SECONDS, "90d": 90 * _DAY_SECONDS, "365d": 365 * _DAY_SECONDS, "never": None,
}  # fmt: skip
"""What the form offers, as the command's ``--expires`` takes it."""


class TokenViews:
    """Endpoints that list, make and revoke tokens."""

    def __init__(self, tokens: TokenApi, auth: PageAuth, rendering: Rendering) -> None:
        self._tokens = tokens
        self._auth = auth
        self._rendering = rendering

    async def tokens(self, request: Request) -> Response:
        """List tokens, and offer to make one."""
        return await self._listed(request, Form([]))

    async def create(self, request: Request) -> Response:
        """Make a token, and show it this once."""
        form = await self._auth.form(request)
        scopes = form.get("scopes").split()
        try:
            issued = await self._tokens.issue(_wanted(form, scopes))
        except HttpProblem as problem:
            return await self._listed(request, form, problem)
        allowed = [word for scope in issued.scopes for word in ("--scope", scope)]
        return self._rendering.page(
            "new_token.html", self._auth.session(request), 201,
            token=issued, command=command("tokens", "create", issued.name, *allowed, expires=form.get("expires")),
        )  # fmt: skip

    async def revoke(self, request: Request) -> Response:
        """Revoke a token: ask first, then do it."""
        form = await self._auth.form(request)
        if form.get("confirmed"):
            await self._tokens.revoked(request)
            return redirect(address("/tokens", done="revoked"))
        token = await self._tokens.found(request)
        question = Question(
            title=f"Revoke the token of {token.name}?",
            text="Who has it is refused everywhere within a second. It cannot be brought back.",
            command=command("tokens", "revoke", token.id),
            button="Revoke",
            action=f"/tokens/{token.id}/revoke",
            back="/tokens",
            dangerous=True,
        )
        return ask(self._rendering, self._auth, request, question)

    async def _listed(self, request: Request, form: Form, problem: HttpProblem | None = None) -> Response:
        session = self._auth.session(request)
        query = view_query(request, TokenFilter)
        return self._rendering.page(
            "tokens.html", session, problem.status if problem else 200,
            page=await self._tokens.page(query), query=query, form=form, lifetimes=[*LIFETIMES],
            error=plain_sentence(problem.message) if problem else "", notice=notice(request),
            command=command("tokens", "list", all=query.ended),
        )  # fmt: skip


def _wanted(form: Form, scopes: list[str]) -> TokenRequest:
    """The token that a form orders. Raises HttpProblem 422."""
    if form.get("expires") not in LIFETIMES:
        raise HttpProblem(422, "malformed", "expires: choose how long the token is good")
    fields = {"name": form.get("name"), "scopes": scopes, "valid_seconds": LIFETIMES[form.get("expires")]}
    return checked_model(fields, TokenRequest)

"""Issues, lists and revokes tokens of apps, behind the admin token; tells an app what its token allows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.app_auth import AppAuth, AppScope
from webhook.api.auth import AdminAuth
from webhook.api.filters import Number
from webhook.api.http import HttpProblem, json_response, path_id, read_model, read_query
from webhook.ledger.app_tokens import MAX_PAGE, AppToken, AppTokens, TokenOrder

CALLS_PER_SECOND = 50.0
BURST_CALLS = 100
VALID_SECONDS = 365 * 86_400.0
_LONGEST_SECONDS = 10 * 365 * 86_400.0


class TokenRequest(BaseModel):
    """Orders a token for an app."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]+$")]
    """For people: which app has it."""
    scopes: Annotated[list[AppScope], Field(min_length=1, max_length=100)]
    calls_per_second: Annotated[float, Field(ge=0.001, le=100_000, allow_inf_nan=False)] = CALLS_PER_SECOND
    burst_calls: Annotated[int, Field(ge=1, le=100_000)] = BURST_CALLS
    """Calls that may come at once after a pause."""
    valid_seconds: Annotated[float, Field(gt=0, le=_LONGEST_SECONDS, allow_inf_nan=False)] | None = VALID_SECONDS
    """None: it never expires."""


class TokenStatus(BaseModel):
    """One token of an app, without the token."""

    id: int
    name: str
    hint: str
    """How the token begins."""
    scopes: list[str]
    calls_per_second: float
    burst_calls: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    """Last use, accurate to a minute. None: it was never used."""


class IssuedToken(TokenStatus):
    """A new token of an app."""

    token: str
    """Shown this once: the ledger keeps only its hash."""


class TokenFilter(BaseModel):
    """Selects the tokens to list."""

    model_config = ConfigDict(extra="forbid")

    ended: bool = False
    """Also those that were revoked or have expired."""
    before: Number | None = None
    """``next`` of the previous page."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class TokenPage(BaseModel):
    """One page of tokens, newest first."""

    tokens: list[TokenStatus]
    next: int | None
    """``before`` of the next page. None: this is the last."""


class TokenSelf(BaseModel):
    """What the token of a request allows."""

    name: str
    scopes: list[str]
    """Empty for the admin token, which allows everything."""


class TokenApi:
    """Endpoints for tokens of apps."""

    def __init__(self, tokens: AppTokens, auth: AdminAuth, app_auth: AppAuth) -> None:
        self._tokens = tokens
        self._auth = auth
        self._app_auth = app_auth

    async def create_token(self, request: Request) -> Response:
        """Make a token for an app. It is shown this once."""
        self._auth.require(request)
        return json_response(await self.issue(await read_model(request, TokenRequest)), 201)

    async def issue(self, wanted: TokenRequest) -> IssuedToken:
        """Make a token. Raises LedgerUnavailable."""
        scopes = list(dict.fromkeys(wanted.scopes))
        order = TokenOrder(
            wanted.name, scopes, wanted.calls_per_second, wanted.burst_calls, wanted.valid_seconds
        )  # fmt: skip
        new = await self._tokens.issue(order)
        return IssuedToken(**_fields(new.token), token=new.secret)

    async def list_tokens(self, request: Request) -> Response:
        """List tokens of apps, newest first."""
        self._auth.require(request)
        return json_response(await self.page(read_query(request, TokenFilter)))

    async def page(self, query: TokenFilter) -> TokenPage:
        """One page of tokens, newest first. Raises LedgerUnavailable."""
        tokens = await self._tokens.page(ended=query.ended, before=query.before, most=query.limit)
        following = tokens[-1].id if len(tokens) == query.limit else None
        return TokenPage(tokens=[TokenStatus(**_fields(token)) for token in tokens], next=following)

    async def revoke_token(self, request: Request) -> Response:
        """Revoke a token of an app. It ends on every replica within a second."""
        self._auth.require(request)
        return json_response(await self.revoked(request))

    async def revoked(self, request: Request) -> TokenStatus:
        """Revoke the token that the path names. Raises HttpProblem 404, LedgerUnavailable."""
        token = await self._tokens.revoke(path_id(request, _absent()))
        if token is None:
            raise _absent()
        return TokenStatus(**_fields(token))

    async def found(self, request: Request) -> TokenStatus:
        """The token that the path names. Raises HttpProblem 404, LedgerUnavailable."""
        id = path_id(request, _absent())
        tokens = await self._tokens.page(ended=True, before=min(id + 1, 2**63 - 1), most=1)
        if not tokens or tokens[0].id != id:
            raise _absent()
        return TokenStatus(**_fields(tokens[0]))

    async def show_own_token(self, request: Request) -> Response:
        """Tell an app what its token allows."""
        caller = await self._app_auth.caller(request)
        return json_response(TokenSelf(name=caller.name, scopes=sorted(caller.scopes)))


def _absent() -> HttpProblem:
    return HttpProblem(404, "unknown-token", "there is no token of that number: see yurt tokens list")


def _fields(token: AppToken) -> dict[str, object]:
    return {name: getattr(token, name) for name in TokenStatus.model_fields}

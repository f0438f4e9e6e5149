"""Makes links that sign a browser in to the page without typing the admin token. Behind the admin token."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.http import json_response, read_optional_model
from webhook.ledger.sign_in_links import SignInLinks

DEFAULT_SECONDS = 600
_MOST_SECONDS = 86_400


class SignInLinkRequest(BaseModel):
    """Requests a sign-in link."""

    model_config = ConfigDict(extra="forbid")

    valid_seconds: Annotated[float, Field(ge=1, le=_MOST_SECONDS, allow_inf_nan=False)] = DEFAULT_SECONDS
    """How long it can be used."""


class NewSignInLink(BaseModel):
    """A sign-in link: the path behind the control plane's URL."""

    path: Annotated[str, Field(repr=False)]
    """Its code stands behind ``#``: browsers send that to no server, so it is in no log."""
    expires_at: str


class SignInLinkApi:
    """The endpoint for sign-in links."""

    def __init__(self, links: SignInLinks, auth: AdminAuth) -> None:
        self._links = links
        self._auth = auth

    async def create_sign_in_link(self, request: Request) -> Response:
        """Make a link that signs one browser in to the page, once."""
        self._auth.require(request)
        wanted = await read_optional_model(request, SignInLinkRequest)
        link = await self._links.make(wanted.valid_seconds)
        return json_response(NewSignInLink(path=f"/enter#{link.code}", expires_at=link.expires_at.isoformat()), 201)

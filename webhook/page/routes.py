"""Routes of the page, and how a failure is shown there: as a page, and to scripts as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from webhook.api.foreign_pages import ForeignPages
from webhook.api.http import on_problem, problem_of
from webhook.page.access import SignInNeeded
from webhook.page.callback_views import CallbackViews
from webhook.page.changes import Changes
from webhook.page.definition_views import DefinitionViews
from webhook.page.drops import Drops
from webhook.page.files import ResultFiles
from webhook.page.object_views import ObjectViews
from webhook.page.rendering import Rendering, address, plain_sentence, redirect
from webhook.page.served_files import Assets
from webhook.page.sign_in import SignIn
from webhook.page.token_views import TokenViews
from webhook.page.views import Views

Call = Callable[[Request], Awaitable[Response]]

_HEADLINES: Mapping[int, str] = {
    403: "This is not allowed",
    404: "There is no such thing",
    409: "Nothing was changed",
    422: "That could not be read",
    503: "Not now",
}
_FOR_SCRIPTS = ("/live/events", "/session", "/drops", "/drops/fates", "/result", "/original")
"""Paths that no person opens: their failures are answered as JSON."""


def page_routes(
    sign_in: SignIn,
    views: Views,
    objects: ObjectViews,
    files: ResultFiles,
    drops: Drops,
    changes: Changes,
    definitions: DefinitionViews,
    callbacks: CallbackViews,
    tokens: TokenViews,
    assets: Assets,
    rendering: Rendering,
    foreign: ForeignPages,
) -> Sequence[Route]:
    """Build the routes of the page. The API's own endpoints stand in ``webhook.api.routes``."""
    table: Sequence[tuple[str, str, Call]] = (
        ("GET", "/", views.live),
        ("GET", "/live/events", views.live_events),
        ("GET", "/objects", objects.objects),
        ("GET", "/object", objects.object),
        ("GET", "/result", files.result),
        ("GET", "/original", files.original),
        ("GET", "/parked", views.parked),
        ("GET", "/parked/{id}", views.parked_object),
        ("POST", "/parked", changes.parked),
        ("GET", "/quarantine", views.quarantine),
        ("GET", "/quarantine/{id}", views.quarantined),
        ("POST", "/quarantine", changes.quarantine),
        ("GET", "/machines", views.machines),
        ("GET", "/machines/{id}", views.machine),
        ("POST", "/machines/{id}", changes.machine),
        ("GET", "/machines/{id}/log", views.machine_log),
        ("GET", "/services", views.services),
        ("GET", "/definitions", definitions.definitions),
        ("GET", "/definitions/{app}", definitions.app),
        ("POST", "/definitions/{app}", definitions.change),
        ("GET", "/definitions/{app}/{version}", definitions.version),
        ("GET", "/callbacks", callbacks.callbacks),
        ("GET", "/callbacks/{id}", callbacks.callback),
        ("POST", "/callbacks", callbacks.replay),
        ("GET", "/tokens", tokens.tokens),
        ("POST", "/tokens", tokens.create),
        ("POST", "/tokens/{id}/revoke", tokens.revoke),
        ("GET", "/costs", views.costs),
        ("GET", "/sweeps", views.sweeps),
        ("POST", "/sweeps", changes.order_sweep),
        ("POST", "/sweeps/{id}/cancel", changes.cancel_sweep),
        ("POST", "/drops", drops.upload),
        ("POST", "/drops/fates", drops.follow),
        ("GET", "/sign-in", sign_in.form),
        ("POST", "/sign-in", sign_in.submit),
        ("GET", "/enter", sign_in.link),
        ("POST", "/enter", sign_in.enter),
        ("POST", "/sign-out", sign_in.sign_out),
        ("GET", "/session", sign_in.check),
        ("GET", "/assets/{digest}/{name}", assets.serve),
    )
    return [Route(path, _PageCall(call, foreign, rendering), methods=[method]) for method, path, call in table]


class _PageCall:
    """One endpoint of the page as an ASGI application."""

    def __init__(self, call: Call, foreign: ForeignPages, rendering: Rendering) -> None:
        self._call = call
        self._foreign = foreign
        self._rendering = rendering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            self._foreign.check(request)
            response = await self._call(request)
        except SignInNeeded:
            response = self._sign_in(request)
        except Exception as error:
            response = self._failed(request, error)
        await response(scope, receive, send)

    def _sign_in(self, request: Request) -> Response:
        if request.url.path in _FOR_SCRIPTS:
            return Response('{"error":"unauthorized","message":"sign in again"}', 401, media_type="application/json")
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return redirect(address("/sign-in", next=wanted if request.method == "GET" and wanted != "/" else None))

    def _failed(self, request: Request, error: Exception) -> Response:
        if request.url.path in _FOR_SCRIPTS:
            return on_problem(error)
        problem = problem_of(error)
        headline = _HEADLINES.get(problem.status, "This went wrong")
        response = self._rendering.page(
            "problem.html", None, problem.status, headline=headline, message=plain_sentence(problem.message)
        )
        response.headers.update(problem.headers)
        return response

"""Shows callbacks, what became of them, and has them told again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from webhook.api.callbacks import CallbackApi, CallbackFilter, CallbackReplay
from webhook.api.http import checked_model
from webhook.ledger.callbacks import CallbackState
from webhook.page.access import Form, PageAuth
from webhook.page.commands import command
from webhook.page.formats import counted
from webhook.page.questions import Question, ask
from webhook.page.rendering import Rendering, address, redirect
from webhook.page.views import notice, view_query
from webhook.pipelines import Pipelines

STATES: tuple[CallbackState, ...] = ("waiting", "told", "given-up")


class CallbackViews:
    """Endpoints that list callbacks, show one, and replay."""

    def __init__(self, callbacks: CallbackApi, pipelines: Pipelines, auth: PageAuth, rendering: Rendering) -> None:
        self._callbacks = callbacks
        self._pipelines = pipelines
        self._auth = auth
        self._rendering = rendering

    async def callbacks(self, request: Request) -> Response:
        """List callbacks, and count them by pipeline."""
        session = self._auth.session(request)
        query = view_query(request, CallbackFilter)
        chosen = {"pipeline": query.pipeline, "state": query.state, "key": query.key}
        return self._rendering.page(
            "callbacks.html", session,
            page=await self._callbacks.page(query), chosen=chosen, states=STATES, pipelines=self._pipelines.names,
            first=query.before is None,
            notice=notice(request), command=command("callbacks", "list", **chosen),
        )  # fmt: skip

    async def callback(self, request: Request) -> Response:
        """Show one callback."""
        session = self._auth.session(request)
        callback = await self._callbacks.found(request)
        return self._rendering.page(
            "callback.html", session, callback=callback, command=command("callbacks", "show", callback.id)
        )

    async def replay(self, request: Request) -> Response:
        """Have callbacks told again: ask first, then do it."""
        form = await self._auth.form(request)
        confirmed = bool(form.get("confirmed"))
        choice = _choice(form, dry_run=not confirmed)
        replayed = await self._callbacks.replay(choice)
        if confirmed:
            return redirect(address("/callbacks", done="told", n=replayed.replayed))
        fields = [(name, value) for name, value in form.without("csrf") if name in ("pipeline", "state", "ids")]
        options = {"given-up": choice.state == "given-up", "told": choice.state == "told"}
        left = counted(replayed.outdated, "callback")
        question = Question(
            title=f"Tell {counted(replayed.replayed, 'callback')} again?",
            text="The app is told as if it had heard nothing, with three days of attempts. A receiver that had turned "
            "its callbacks off gets them again."
            + (f" {left} stay as they are: a later one of the same object is there." if replayed.outdated else ""),
            command=command("callbacks", "replay", choice.pipeline, *(choice.ids or ()), **options),
            button=f"Tell {replayed.replayed:,} again" if replayed.replayed else "",
            action="/callbacks",
            back="/callbacks",
            fields=fields,
        )
        return ask(self._rendering, self._auth, request, question)


def _choice(form: Form, *, dry_run: bool) -> CallbackReplay:
    """Which callbacks a form has chosen. Raises HttpProblem 422."""
    chosen = {"pipeline": form.get("pipeline"), "state": form.get("state") or None, "ids": form.all("ids") or None}
    return checked_model({**chosen, "dry_run": dry_run}, CallbackReplay)

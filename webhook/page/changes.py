"""Changes what the views show: redrives, forgets, replays, drains, slays, orders and cancels sweeps.

A change that concerns several rows is asked about first, with their exact number and the command that does the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import structlog
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.http import HttpProblem, checked_model, path_id
from webhook.api.parked import ParkedChoice
from webhook.api.quarantine import QuarantineChoice
from webhook.api.sweeps import SweepRequest
from webhook.page.access import Form, PageAuth
from webhook.page.commands import command, of_choice
from webhook.page.formats import counted
from webhook.page.questions import Question, ask
from webhook.page.rendering import Rendering, address, redirect
from webhook.page.views import Apis

log = structlog.get_logger()

Chosen = TypeVar("Chosen", bound=BaseModel)

_MOST_CALLS = 50
"""Pages that one confirmed change goes through: 50,000 rows. The rest is asked about again."""

_MEANINGS = {
    "redrive": "Each is processed again now, with all its attempts.",
    "forget": "Their changes end without being processed. Results that exist stay; only a newer upload is processed "
    "again.",
    "replay": "They are read again, with the control plane as it is now, and handled as if they came now.",
}
_OWN_FIELDS = ("csrf", "confirmed", "verb")


class Changes:
    """Endpoints that change something. All need the administrator's session, its CSRF token and the page's origin."""

    def __init__(self, apis: Apis, auth: PageAuth, rendering: Rendering) -> None:
        self._apis = apis
        self._auth = auth
        self._rendering = rendering

    async def parked(self, request: Request) -> Response:
        """Redrive or forget parked objects: ask first, then do it."""
        form = await self._auth.form(request)
        verb: Literal["redrive", "forget"] = "forget" if form.get("verb") == "forget" else "redrive"
        fields = _chosen_fields(form, "/parked")
        if not form.get("confirmed"):
            counted = await self._apis.parked.move(verb, _choice(ParkedChoice, fields, dry_run=True))
            return self._asked(request, form, verb, "parked", fields, counted.objects)

        async def move(after: str | None) -> tuple[int, str | None]:
            moved = await self._apis.parked.move(verb, _choice(ParkedChoice, fields, after=after))
            return moved.objects, moved.next

        number = await _all_pages(move)
        log.info("changed on the page", verb=verb, objects=number)
        return redirect(address("/parked", done="redriven" if verb == "redrive" else "forgotten", n=number))

    async def quarantine(self, request: Request) -> Response:
        """Replay quarantined texts: ask first, then do it."""
        form = await self._auth.form(request)
        fields = _chosen_fields(form, "/quarantine")
        if not form.get("confirmed"):
            tried = await self._apis.quarantine.replay_chosen(_choice(QuarantineChoice, fields, dry_run=True))
            refused = len(tried.refused) + len(tried.truncated)
            return self._asked(request, form, "replay", "quarantine", fields, tried.replayed, refused)

        async def replay(after: str | None) -> tuple[int, str | None]:
            replayed = await self._apis.quarantine.replay_chosen(_choice(QuarantineChoice, fields, after=after))
            return replayed.replayed, replayed.next

        return redirect(address("/quarantine", done="replayed", n=await _all_pages(replay)))

    async def machine(self, request: Request) -> Response:
        """Drain or slay a machine: ask first, then do it."""
        form = await self._auth.form(request)
        id = path_id(request, HttpProblem(404, "unknown-machine", "there is no machine of that number"))
        verb = "slay" if form.get("verb") == "slay" else "drain"
        if not form.get("confirmed"):
            machine = await self._apis.machines.found(id)
            return ask(self._rendering, self._auth, request, _of_machine(id, verb, machine.leases))
        await (self._apis.machines.slay(id) if verb == "slay" else self._apis.machines.drain(id))
        return redirect(address(f"/machines/{id}", done="slaying" if verb == "slay" else "draining"))

    async def order_sweep(self, request: Request) -> Response:
        """Order sweeps."""
        form = await self._auth.form(request)
        pipeline, prefix = form.get("pipeline"), form.get("prefix")
        wanted = checked_model(
            {
                "pipelines": [pipeline] if pipeline else [],
                "prefixes": [prefix] if prefix else [],
                "kind": "full" if form.get("kind") == "full" else "backfill",
                "dry_run": bool(form.get("dry_run")),
            },
            SweepRequest,
        )
        ordered = await self._apis.sweeps.order(wanted)
        return redirect(address("/sweeps", done="ordered", n=len(ordered)))

    async def cancel_sweep(self, request: Request) -> Response:
        """Cancel a sweep."""
        await self._auth.form(request)
        await self._apis.sweeps.cancel(path_id(request, HttpProblem(404, "unknown-sweep", "there is no such sweep")))
        return redirect(address("/sweeps", done="cancelled"))

    def _asked(
        self, request: Request, form: Form, verb: str, view: str, fields: list[tuple[str, str]], number: int,
        refused: int = 0,
    ) -> Response:  # fmt: skip
        what = "text" if view == "quarantine" else "object"
        stay = f" {refused:,} still cannot be read and stay{'s' if refused == 1 else ''}." if refused else ""
        question = Question(
            title=f"{verb.capitalize()} {counted(number, what)}?",
            text=_MEANINGS[verb] + stay,
            command=of_choice(view, verb, fields),
            button=f"{verb.capitalize()} {number:,}" if number else "",
            action=f"/{view}",
            back=f"/{view}",
            fields=[("verb", verb), *fields],
            dangerous=verb == "forget",
        )
        return ask(self._rendering, self._auth, request, question)


def _of_machine(id: int, verb: str, leases: int) -> Question:
    held = counted(leases, "object")
    if verb == "drain":
        text = f"It gets no more work, and is slain once it has finished the {held} it has. Nothing is interrupted."
    else:
        text = f"It is destroyed now. The {held} that it works on {'is' if leases == 1 else 'are'} processed elsewhere."
    return Question(
        title=f"{verb.capitalize()} machine {id}?",
        text=f"{text} Where work waits, another machine is minted.",
        command=command("machines", verb, id),
        button=verb.capitalize(),
        action=f"/machines/{id}",
        back=f"/machines/{id}",
        fields=[("verb", verb)],
        dangerous=verb == "slay",
    )


def _chosen_fields(form: Form, view: str) -> list[tuple[str, str]]:
    """The fields that choose rows. Raises HttpProblem 422 where none is chosen."""
    fields = form.without(*_OWN_FIELDS)
    if not fields:
        raise HttpProblem(422, "nothing-chosen", f"nothing was chosen: go back to {view} and tick a row")
    return fields


async def _all_pages(change: Callable[[str | None], Awaitable[tuple[int, str | None]]]) -> int:
    """Change one page after the other. Returns the number of rows changed."""
    changed, after = await change(None)
    for _ in range(_MOST_CALLS):
        if after is None:
            break
        more, after = await change(after)
        changed += more
    return changed


def _choice(model: type[Chosen], fields: list[tuple[str, str]], **more: object) -> Chosen:
    values: dict[str, Any] = {name: value for name, value in fields if name != "ids"}
    if ids := [value for name, value in fields if name == "ids"]:
        values["ids"] = ids
    return checked_model({**values, **{name: value for name, value in more.items() if value is not None}}, model)

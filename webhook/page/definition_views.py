"""Shows what is defined, and the versions of each app's set; lets an earlier version hold again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from webhook.api.deployments import OWNER_PREFIX, DeploymentApi, RemovalQuery, RollbackRequest, VersionFilter
from webhook.api.http import checked_model
from webhook.definitions.changes import changes
from webhook.ledger.definitions import LedgerDefinitions
from webhook.page.access import PageAuth
from webhook.page.commands import command
from webhook.page.questions import Question, ask
from webhook.page.rendering import Rendering, address, redirect
from webhook.page.views import notice, unknown, view_query


class DefinitionViews:
    """Endpoints that show definitions, roll an app back, and remove it."""

    def __init__(
        self, deployments: DeploymentApi, ledger: LedgerDefinitions, auth: PageAuth, rendering: Rendering
    ) -> None:
        self._deployments = deployments
        self._ledger = ledger
        self._auth = auth
        self._rendering = rendering

    async def definitions(self, request: Request) -> Response:
        """List what is defined now, and the apps that were deployed."""
        session = self._auth.session(request)
        return self._rendering.page(
            "definitions.html", session,
            listed=await self._deployments.listed(), apps=await self._deployments.apps(), prefix=OWNER_PREFIX,
            command=command("definitions", "list"),
        )  # fmt: skip

    async def app(self, request: Request) -> Response:
        """Show what an app defines, and its versions."""
        session = self._auth.session(request)
        query = view_query(request, VersionFilter)
        details = await self._deployments.details(request, query)
        return self._rendering.page(
            "app.html", session,
            details=details, first=query.before is None, notice=notice(request),
            command=command("definitions", "show", details.app),
        )  # fmt: skip

    async def version(self, request: Request) -> Response:
        """Show what one version of an app changed."""
        session = self._auth.session(request)
        number = _number(request)
        details = await self._deployments.details(request, VersionFilter(before=number + 1, limit=2))
        if not details.versions or details.versions[0].version != number:
            raise unknown("version")
        owner = OWNER_PREFIX + details.app
        before, after = await self._ledger.at(owner, number - 1) or {}, await self._ledger.at(owner, number) or {}
        present = (await self._ledger.versions(owner, most=1))[0].version
        return self._rendering.page(
            "app_version.html", session,
            app=details.app, version=details.versions[0], is_present=number == present, changes=changes(before, after),
            command="" if number == present else command("rollback", details.app, number),
        )  # fmt: skip

    async def change(self, request: Request) -> Response:
        """Roll an app back or remove it: ask first, then do it."""
        form = await self._auth.form(request)
        dry_run = not form.get("confirmed")
        if form.get("verb") == "remove":
            done, question = await self._removed(request, dry_run)
        else:
            wanted = checked_model({"version": form.get("version") or None, "dry_run": dry_run}, RollbackRequest)
            done, question = await self._rolled_back(request, wanted)
        if dry_run:
            return ask(self._rendering, self._auth, request, question)
        return redirect(address(question.back, done=done))

    async def _removed(self, request: Request, dry_run: bool) -> tuple[str, Question]:
        removed = await self._deployments.removed(request, RemovalQuery(dry_run=dry_run))
        question = Question(
            title=f"Remove everything that {removed.app} defines?",
            text="Leases that run are finished; objects that wait are kept. Its versions are kept: "
            "a rollback brings it back.",
            command=command("definitions", "remove", removed.app),
            button="Remove" if removed.changes else "",
            action=f"/definitions/{removed.app}",
            back=f"/definitions/{removed.app}",
            fields=[("verb", "remove")],
            dangerous=True,
            changes=removed.changes,
        )
        return "removed", question

    async def _rolled_back(self, request: Request, wanted: RollbackRequest) -> tuple[str, Question]:
        done = await self._deployments.rolled_back(request, wanted)
        which = f"version {wanted.version}" if wanted.version else "the version before"
        text = "It becomes the next version, so that this can be rolled back too. New leases get it at once; those "
        question = Question(
            title=f"Let {which} of {done.app} hold again?",
            text=f"{text}that run keep what they were given." if done.changes else "Nothing differs.",
            command=command("rollback", done.app, *([wanted.version] if wanted.version else [])),
            button="Roll back" if done.changes else "",
            action=f"/definitions/{done.app}",
            back=f"/definitions/{done.app}",
            fields=[("version", str(wanted.version or ""))],
            changes=done.changes,
        )
        return "rolled-back", question


def _number(request: Request) -> int:
    """The version that the path names. Raises HttpProblem 404."""
    text: str = request.path_params["version"]
    if text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text):
        return int(text)
    raise unknown("version")

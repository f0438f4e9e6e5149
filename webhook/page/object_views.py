"""Searches objects, and shows one object's story with its original and its results side by side."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.filters import Text
from webhook.api.http import HttpProblem
from webhook.ledger.objects import LOOKED_AT, ObjectRows, ObjectSelection
from webhook.ledger.transitions import ResultVerdict
from webhook.page.access import PageAuth
from webhook.page.commands import command
from webhook.page.files import ResultFiles
from webhook.page.manifests import ManifestRead, read_manifest
from webhook.page.rendering import Rendering, address
from webhook.page.views import view_query
from webhook.pipelines import Pipelines
from webhook.storage import ObjectStore

State = Literal["pending", "leased", "done", "parked", "gone", "forgotten"]
STATES: tuple[State, ...] = get_args(State)
VERDICTS: tuple[ResultVerdict, ...] = get_args(ResultVerdict)


class ObjectFilter(BaseModel):
    """Selects the objects to list."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Text | None = None
    prefix: Text | None = None
    """Of the key."""
    part: Text | None = None
    """That the key contains."""
    state: State | None = None
    verdict: ResultVerdict | None = None
    """Of the result's checks."""
    after: Text | None = None
    """Key after which the page begins."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class ObjectViews:
    """Endpoints that list objects and show one."""

    def __init__(
        self,
        objects: ObjectRows,
        pipelines: Pipelines,
        store: ObjectStore,
        files: ResultFiles,
        auth: PageAuth,
        rendering: Rendering,
    ) -> None:
        self._objects = objects
        self._pipelines = pipelines
        self._store = store
        self._files = files
        self._auth = auth
        self._rendering = rendering

    async def objects(self, request: Request) -> Response:
        """Search the objects of one pipeline."""
        session = self._auth.session(request)
        query = view_query(request, ObjectFilter)
        names = [name for name, _ in self._pipelines.by_id.values()]
        pipeline = query.pipeline or next(iter(names), "")
        number = self._files.number_of(pipeline)
        which = ObjectSelection(number, query.prefix or "", query.part, query.state, query.verdict)
        found = await self._objects.page(which, query.after or "", query.limit)
        return self._rendering.page(
            "objects.html", session,
            found=found, query=query, pipeline=pipeline, pipelines=names, states=STATES, verdicts=VERDICTS,
            looked_at=LOOKED_AT,
            command="",
        )  # fmt: skip

    async def object(self, request: Request) -> Response:
        """Show all that is known of one object."""
        session = self._auth.session(request)
        place = self._files.place_of(request)
        name, pipeline = self._pipelines.by_id[place[0]]
        story = await self._objects.story(*place)
        if story is None:
            raise HttpProblem(
                404, "unknown-object", f"the ledger knows no object of that key in {name}: it never was announced, or "
                "it was pruned after its retention",
            )  # fmt: skip
        read = await read_manifest(self._store, pipeline, story.key) if story.published else ManifestRead(None)
        return self._rendering.page(
            "object.html", session,
            story=story, pipeline=name, bucket=pipeline.input.bucket, output=str(pipeline.output),
            original=address("/original", pipeline=name, key=story.key),
            files=self._files.files(name, story.key, story.published), read=read,
            command=command("parked", "show", story.id) if story.state == "parked" else "",
        )  # fmt: skip

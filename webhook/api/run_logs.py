"""Shows what runs printed. Behind the admin token."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.filters import Text
from webhook.api.http import HttpProblem, json_response, read_query
from webhook.ledger.run_logs import RunLogs
from webhook.pipelines import Pipelines
from yurt.packing.definitions import CALLS

MAX_RUNS = 100


class RunLogFilter(BaseModel):
    """Selects runs of a pipeline, or of a function with its calls."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Text
    failed: bool = False
    """Only those that did."""
    after: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """The first ones with larger ids; by default the newest ones."""
    limit: Annotated[int, Field(ge=1, le=MAX_RUNS)] = MAX_RUNS


class RunLog(BaseModel):
    """One run of a handler that failed, or printed something."""

    id: int
    """Grows; runs that end at the same time may show in another order than that of their ids."""
    pipeline: str
    key: str
    worker_id: int
    outcome: Literal["done", "failed"]
    reason: str
    """Of a failure: a short code."""
    message: str
    retry: bool
    """Of a failure: whether another attempt follows, if one is left."""
    log: str
    """The end of what was printed, with the traceback."""
    ended_at: datetime


class RunLogPage(BaseModel):
    """Runs by their ids, the oldest first."""

    runs: list[RunLog]


class RunLogApi:
    """The endpoint of what runs printed."""

    def __init__(self, logs: RunLogs, pipelines: Pipelines, auth: AdminAuth) -> None:
        self._logs = logs
        self._pipelines = pipelines
        self._auth = auth

    async def run_logs(self, request: Request) -> Response:
        """List what runs printed, and how they failed: the newest, or those after an id."""
        self._auth.require(request)
        query = read_query(request, RunLogFilter)
        names = query.pipeline, query.pipeline + CALLS
        rows = await self._logs.page(names, query.after, query.limit, failed=query.failed)
        if not rows and query.after is None and not any(self._pipelines.named(name) for name in names):
            raise HttpProblem(404, "unknown-pipeline", "there is no pipeline or function of that name, and was none")
        return json_response(RunLogPage(runs=[RunLog(**row) for row in rows]))

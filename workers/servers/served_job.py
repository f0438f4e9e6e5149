"""Gives a job what its handler's server needs: the server itself, ready, and URLs of the job's files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from workers.handlers import HandlerUnavailable, Job
from workers.handlers.http.options import HttpOptions
from workers.protocol import Handler
from workers.servers.all_servers import HandlerServers
from workers.servers.references import References


@asynccontextmanager
async def served(handler: Handler, job: Job, servers: HandlerServers, references: References) -> AsyncIterator[Job]:
    """The job as it is, or, where its handler is a server, with the URL of its files once that server is ready.

    Raises HandlerUnavailable where it does not become ready.
    """
    if handler.kind != "http":
        yield job
        return
    try:
        options = HttpOptions.model_validate(dict(job.options))
    except ValueError as error:
        raise HandlerUnavailable(f"The options of the handler http are wrong: {error}") from error
    async with servers.using(options, job.models):
        with references.offered(job.input, job.output, handler.limits.output_bytes) as url:
            yield replace(job, url=url)

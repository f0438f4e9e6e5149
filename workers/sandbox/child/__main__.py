"""The template process: ``python -m workers.sandbox.child PARENT_PIPE [KIND …]``.

It loads the handlers, and forks a process for each file, which ends with that file: threads, timers, changed modules
and temporary files of one file never meet the next. Nothing of a file is ever read in this process.

``PARENT_PIPE`` is the number of the file descriptor whose other end closes when the agent ends; each ``KIND`` names a
handler to load before the first job. Requests come on standard input and replies go to standard output, both moved out
of a handler's reach first: what a handler prints goes to standard error.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
from typing import BinaryIO

from workers.handlers import registry
from workers.handlers.folder import handlers_folder
from workers.sandbox import messages
from workers.sandbox.child import limits, orphans, parent_death
from workers.sandbox.child.jail import handler_policy
from workers.sandbox.child.job_process import JobProcess
from workers.sandbox.child.preload import Preloaded
from workers.sandbox.child.source_files import SourceFiles
from workers.sandbox.messages import JobEnd, JobRequest, SourceFile, TemplateReady


def main(parent_pipe: str, *kinds: str) -> None:
    """Serve jobs until the agent closes the pipe."""
    parent_death.end_with(int(parent_pipe))
    requests, replies = _take_pipes()
    orphans.adopt()
    limits.no_core_dumps()
    faulthandler.enable()
    for kind in kinds:
        registry.warm(kind)
    # After Yurt's own modules are loaded: none of them is looked for in the user's folder.
    sources = SourceFiles(folder) if (folder := handlers_folder()) else None
    if sources:
        sources.install()
    handler_policy.prepare()
    Template(requests, replies, int(parent_pipe), sources).serve()


class Template:
    """Forks a process for each job, ahead of its request, so that none waits for the fork."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO, parent_pipe: int, sources: SourceFiles | None) -> None:
        self._requests = requests
        self._replies = replies
        # What a job's process must not hold: it could answer for later jobs, or outlive the agent.
        self._own = (requests.fileno(), replies.fileno(), parent_pipe)
        self._sources = sources
        self._preloaded = Preloaded(self._own)

    def serve(self) -> None:
        """Serve jobs until the agent closes the pipe."""
        self._send(messages.encode(TemplateReady()))
        process = self._fork()
        while (request := messages.read_request(self._requests)) is not None:
            if self._preloaded.add(request):
                process.kill()
                orphans.end()
                process = self._fork()
            self._send(self._run(process, request))
            process = self._fork()
        process.kill()

    def _fork(self) -> JobProcess:
        # What is alive now stays so: a collection in a job would only write to, and so copy, each page of it.
        gc.freeze()
        return JobProcess.fork(self._own)

    def _run(self, process: JobProcess, request: JobRequest) -> bytes:
        """Run one job, end all its processes, and return both frames of the reply."""
        outcome, exceeded = process.run(request)
        code, used = process.end()
        orphans.end()
        os.write(2, messages.end_of_log(request.number))
        return outcome + messages.encode(
            JobEnd(code, limits.cpu_seconds(used), limits.peak_bytes(used), exceeded, self._take_sources())
        )

    def _send(self, frames: bytes) -> None:
        self._replies.write(frames)
        self._replies.flush()

    def _take_sources(self) -> list[SourceFile]:
        return self._sources.take() if self._sources else []


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    os.close(empty)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what was printed survives a crash
    return requests, replies


if __name__ == "__main__":
    main(*sys.argv[1:])

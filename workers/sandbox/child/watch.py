"""Watches what all processes of a job use together, which the kernel's limits (of each process, each file) do not tell.

Linux only: elsewhere the limits of each process still hold, and the agent's wall clock.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from workers.folder_use import FolderUse
from workers.sandbox import proc
from workers.sandbox.child import limits
from workers.sandbox.messages import MAX_FILES, MAX_PROCESSES, Exceeded, JobRequest

SCRATCH_FACTOR = 2
"""Bytes in the job's folders, as a multiple of ``output_bytes``: a handler may write what it does not publish."""
_SECONDS = 0.05
_MAX_SECONDS = 0.2
_MOST_OF_A_CORE = 0.05
_ALL_AGAIN = 20
"""Looks after which all processes of the machine are gone through, not the new ones alone."""
_MAX_NEW = 500


class JobWatch:
    """The processes and files of one job. Call ``exceeded`` about every ``seconds``."""

    def __init__(self, pid: int, request: JobRequest) -> None:
        self._request = request
        self._members = {pid}
        self._template = os.getpid()
        self._newest = pid
        self._looks = 0
        self._own_bytes = limits.resident_bytes()
        self.seconds = _SECONDS
        """Time until the next look: longer where one takes long."""

    def exceeded(self) -> Exceeded | None:
        """Return the limit that the job exceeds now."""
        if sys.platform != "linux":
            return None
        begun = time.process_time()  # not of the clock: a machine that is busy would be looked at less
        found = self._of_processes() or self._of_files()
        self.seconds = min(max(_SECONDS, (time.process_time() - begun) / _MOST_OF_A_CORE), _MAX_SECONDS)
        return found

    def _of_processes(self) -> Exceeded | None:
        self._find_members()
        uses = [use for pid in self._members if (use := proc.use_of(pid))]
        self._members = {use.pid for use in uses}
        if len(uses) > MAX_PROCESSES:
            return "processes"
        if sum(use.cpu_seconds for use in uses) > self._request.cpu_seconds:
            return "cpu"
        return "memory" if self._has_too_much_memory(uses) else None

    def _has_too_much_memory(self, uses: list[proc.ProcessUse]) -> bool:
        """Compare resident memory, and only where that is too much the share of each in it, which costs more to ask.

        Pages of models are the machine's: the kernel drops them where memory is short, and shares them between jobs.
        """
        limit, apart = self._request.memory_bytes + self._own_bytes, self._request.models_bytes
        if sum(use.resident_bytes for use in uses) <= limit:
            return False
        if apart and sum(use.resident_bytes - min(apart, proc.file_bytes(use)) for use in uses) <= limit:
            return False
        # Twice: the share of those that are looked at later grows when one ends meanwhile.
        return all(sum(proc.share_bytes(use, apart) for use in uses) > limit for _ in range(2))

    def _of_files(self) -> Exceeded | None:
        use = FolderUse(MAX_FILES)
        for folder in (self._request.output, self._request.temporary):
            use.add(Path(folder))
        for pid in self._members:
            use.add_unlinked(pid)
        if use.files > MAX_FILES:
            return "files"
        return "output" if use.bytes > SCRATCH_FACTOR * self._request.output_bytes + (1 << 20) else None

    def _find_members(self) -> None:
        """Add the job's processes that were started since the last look.

        Pids are given in order, so that only those since then need a look. One whose parent has ended is below the
        template, which adopts it.
        """
        parents = {pid: use.parent for pid in self._new() if (use := proc.use_of(pid))}
        known = 0
        while known != len(self._members):  # again: pids start anew, so a child may have a lower one
            known = len(self._members)
            self._members |= {
                pid for pid, parent in parents.items() if parent in self._members or parent == self._template
            }

    def _new(self) -> range | list[int]:
        before, self._newest = self._newest, proc.newest_pid()
        self._looks += 1
        if self._looks % _ALL_AGAIN == 0 or not 0 <= self._newest - before <= _MAX_NEW:
            return proc.every_pid()
        return range(before + 1, self._newest + 1)

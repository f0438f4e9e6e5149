"""A handler that some files end together with their whole worker, as the kernel does to one that is out of memory."""

from __future__ import annotations

import os
import signal
import time

from workers.handlers import Job
from workers.sandbox.proc import use_of


def _parent_of(pid: int) -> int:
    """The agent is the parent of the template, which is the parent of each job's process."""
    template = use_of(pid)
    assert template is not None
    return template.parent


def work(job: Job) -> None:
    if "killer" in job.key:
        os.kill(_parent_of(os.getppid()), signal.SIGKILL)
        time.sleep(60)
    (job.output / "size.txt").write_text(str(job.input.stat().st_size))

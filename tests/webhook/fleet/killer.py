"""A handler that some files end together with their whole worker, as the kernel does to one that is out of memory."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from workers.handlers import Job


def _parent_of(pid: int) -> int:
    """The agent is the parent of the template, which is the parent of each job's process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def work(job: Job) -> None:
    if "killer" in job.key:
        os.kill(_parent_of(os.getppid()), signal.SIGKILL)
        time.sleep(60)
    (job.output / "size.txt").write_text(str(job.input.stat().st_size))

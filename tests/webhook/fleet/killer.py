"""A handler that some files end together with their whole worker, as the kernel does to one that is out of memory."""

from __future__ import annotations

import os
import signal
import time

from workers.handlers import Job


def work(job: Job) -> None:
    if "killer" in job.key:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    (job.output / "size.txt").write_text(str(job.input.stat().st_size))

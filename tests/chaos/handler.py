"""Handler of chaos runs: copies its input and writes facts about it. Cheap: thousands of runs take minutes."""

from __future__ import annotations

import shutil
import time

from tests.chaos.content import COPY, FACTS, UploadContent, facts
from workers.handlers import Job


def handle(job: Job) -> None:
    """Publish a copy and the facts. Takes as long as the content says, in two halves around the first output."""
    encoded = job.input.read_bytes()
    pause_seconds = UploadContent.decode(encoded).work_seconds / 2
    time.sleep(pause_seconds)
    shutil.copyfile(job.input, job.output / COPY)
    time.sleep(pause_seconds)
    (job.output / FACTS).write_bytes(facts(encoded))

"""Messages about what a worker does before it can take work."""

from __future__ import annotations

from typing import Literal

from workers.message import Bytes, Message
from workers.value_types import ModelName


class WorkerProgress(Message):
    """What a worker does before it can take work. Sent every few seconds while it lasts; keeps the worker alive."""

    phase: Literal["weights", "load"]
    """Fetches the weights of its models, or loads a model into memory."""
    model: ModelName
    done_bytes: Bytes = 0
    total_bytes: Bytes = 0
    bytes_per_second: Bytes = 0


class ProgressAnswer(Message):
    """The response to ``WorkerProgress``."""

    drain: bool = False
    """Take no work, and leave."""

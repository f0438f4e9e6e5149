"""Tells the watchdog that this agent's event loop still turns: a byte into a pipe every few seconds.

A thread could do it while the event loop hangs, which is the very thing that the watchdog looks for.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Coroutine, MutableMapping
from typing import Any, NoReturn, TypeVar

ENVIRONMENT = "YURT_WATCHDOG"
"""Set by the watchdog for its agent: the descriptor of the pipe's writing end."""
BEAT_SECONDS = 5.0
_VICTIM = b"500"
"""Of the agent and its handlers, added to their share of the memory in thousandths: the kernel ends them first."""

T = TypeVar("T")


class SignsOfLife:
    """The writing end of a watchdog's pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> SignsOfLife | None:
        """Take the pipe that a watchdog left to this process, so that no child inherits it. None: there is no watchdog.

        Call before this process is closed to others: until then it may write its own ``oom_score_adj``.
        """
        descriptor = environ.pop(ENVIRONMENT, "")
        if not descriptor.isdecimal():
            return None
        os.set_inheritable(int(descriptor), False)
        os.set_blocking(int(descriptor), False)
        _be_ended_first()
        return cls(int(descriptor))

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work``, and give signs of life until it has ended."""
        from workers.concurrency import first_of  # the watchdog, which reads this module too, has no event loop

        return await first_of(work, self._give())

    async def _give(self) -> NoReturn:
        import asyncio

        while True:
            try:
                os.write(self._descriptor, b".")
            except BlockingIOError:  # the watchdog is stopped, and will read them
                pass
            except OSError:  # it was killed: a machine without it must not go on
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.Event().wait()
            await asyncio.sleep(BEAT_SECONDS)


def _be_ended_first() -> None:
    """Have the kernel, when memory runs out, end this process and its children before the watchdog."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as score:  # noqa: PTH123
        score.write(_VICTIM)

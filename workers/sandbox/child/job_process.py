"""Forks the process of one job, hands it the request, watches it, and ends it: the template's view."""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Sequence

from workers.sandbox import messages
from workers.sandbox.child import job
from workers.sandbox.child.watch import JobWatch
from workers.sandbox.messages import Exceeded, JobRequest

NO_OUTCOME = messages.HEADER.pack(0)
"""The frame in place of an outcome that a process did not give."""
_READ_BYTES = 65_536


class JobProcess:
    """A forked process that waits for its only job."""

    def __init__(self, pid: int, requests: int, outcomes: int) -> None:
        self._pid = pid
        self._requests = requests
        self._outcomes = outcomes

    @classmethod
    def fork(cls, own: Sequence[int]) -> JobProcess:
        """Fork. The new process closes the descriptors in ``own``, waits for a request, runs it and exits."""
        requests, outcomes = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            job.serve(requests[0], outcomes[1], close=(*own, requests[1], outcomes[0]))
        os.close(requests[0])
        os.close(outcomes[1])
        return cls(pid, requests[1], outcomes[0])

    def run(self, request: JobRequest) -> tuple[bytes, Exceeded | None]:
        """Hand over the request; return the frame with the outcome, or ``NO_OUTCOME`` and the limit exceeded."""
        try:
            with os.fdopen(self._requests, "wb") as stream:
                stream.write(messages.encode(request))
        except BrokenPipeError:  # killed while it waited
            return NO_OUTCOME, None
        return self._outcome(JobWatch(self._pid, request))

    def kill(self) -> None:
        """SIGKILL the process without a job."""
        os.close(self._requests)
        self.end()

    def end(self) -> tuple[int, resource.struct_rusage]:
        """SIGKILL the process, and return its exit status (negative: a signal) and what it has used."""
        # One that is ending by itself keeps its status: the kernel closes its pipe after that is set.
        os.kill(self._pid, signal.SIGKILL)
        os.close(self._outcomes)
        _, status, used = os.wait4(self._pid, 0)
        return os.waitstatus_to_exitcode(status), used

    def _outcome(self, watch: JobWatch) -> tuple[bytes, Exceeded | None]:
        received = bytearray()
        while not _is_complete(received):
            if select.select([self._outcomes], [], [], watch.seconds)[0]:
                if not (chunk := os.read(self._outcomes, _READ_BYTES)):
                    return NO_OUTCOME, None
                received += chunk
            elif exceeded := watch.exceeded():
                return NO_OUTCOME, exceeded
        return _first_frame(received), None


def _is_complete(received: bytearray) -> bool:
    return len(received) >= messages.HEADER.size and len(received) >= messages.HEADER.size + _size(received)


def _first_frame(received: bytearray) -> bytes:
    return bytes(received[: messages.HEADER.size + _size(received)])


def _size(received: bytearray) -> int:
    """Length that the frame announces; what is no length, since a handler has written into the pipe, is none."""
    (size,) = messages.HEADER.unpack_from(received)
    return size if size <= messages.MAX_FRAME_BYTES else 0

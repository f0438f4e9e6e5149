"""Makes the errors for a job that exceeded one of its limits. Another attempt would end the same way.

Used on both sides: the job's process sees memory and file size run out, the agent what the template found.
"""

from __future__ import annotations

from workers.handlers import HandlerError

_MIB = 1 << 20


def cpu(cpu_seconds: float) -> HandlerError:
    """More processor time than the limit."""
    return HandlerError("cpu-limit", f"Handling the file took more than {cpu_seconds:g} s of processor time.")


def memory(memory_bytes: int, *, retry: bool = False) -> HandlerError:
    """More memory than the limit."""
    message = f"Handling the file took more than {memory_bytes / _MIB:,.0f} MiB of memory."
    return HandlerError("memory-limit", message, retry=retry)


def output(output_bytes: int) -> HandlerError:
    """Larger outputs than the limit, alone or together."""
    return HandlerError("output-too-large", f"The results are larger than {output_bytes / _MIB:,.1f} MiB together.")


def scratch(output_bytes: int) -> HandlerError:
    """More bytes in the job's folders at once than the limit."""
    message = f"Handling the file wrote far more than the {output_bytes / _MIB:,.1f} MiB that its results may have."
    return HandlerError("output-too-large", message)


def files(most: int) -> HandlerError:
    """More files in the job's folders at once than the limit."""
    return HandlerError("too-many-files", f"Handling the file made more than {most:,} files at once.")


def processes(most: int) -> HandlerError:
    """More processes at once than the limit."""
    return HandlerError("too-many-processes", f"Handling the file started more than {most:,} processes at once.")

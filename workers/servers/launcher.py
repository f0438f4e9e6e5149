"""Starts a server in the place of this process, so that it ends with its agent: ``… launcher PARENT_PIPE PROGRAM …``.

``PARENT_PIPE`` is the number of the file descriptor whose other end closes when the agent ends. The kernel then kills
the whole process group, whichever program runs in it by then: the server keeps the descriptor.
"""

from __future__ import annotations

import os
import sys

from workers.sandbox.child import parent_death

NOT_FOUND = 127
"""Exit status where the program cannot be started, as shells have it."""


def main(parent_pipe: str, *argv: str) -> None:
    """Become the server."""
    parent_death.end_with(int(parent_pipe))
    os.set_inheritable(int(parent_pipe), True)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - the pipeline's own command
    except OSError as error:
        sys.stderr.write(f"{argv[0]} cannot be started: {error.strerror}\n")
        raise SystemExit(NOT_FOUND) from None


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A worker that does nothing: writes down its environment, and waits. Run as a program.

``STUB_FOLDER`` is where to write; ``STUB_DEEDS`` what else it does: stubborn (ignores SIGTERM), undying (has
no lifeline), parent (starts a child in its group), chatty (prints much), broken (ends at once).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from workers import parent_death


def main() -> None:
    environment, deeds = dict(os.environ), os.environ.get("STUB_DEEDS", "").split()
    if "broken" in deeds:
        sys.exit("broken")
    if "undying" not in deeds:
        parent_death.watch()
    final = Path(environment["STUB_FOLDER"]) / f"{environment['YURT_LABEL']}.json"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in deeds else lambda *_: leave(final))
    about: dict[str, object] = {"environment": environment, "argv": sys.orig_argv, "pid": os.getpid()}
    if "parent" in deeds:
        child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
        about["child"] = child.pid
    if "chatty" in deeds:
        sys.stdout.write("x" * 50_000 + "\n")
    draft = final.with_suffix(".new")
    draft.write_text(json.dumps(about))
    draft.rename(final)
    while True:
        signal.pause()


def leave(final: Path) -> None:
    final.with_suffix(".asked").touch()
    sys.exit()


if __name__ == "__main__":
    main()

"""A command for the exec provider whose machines are processes that boot for a known time, for the benchmark.

    python slow_place.py FOLDER BOOT_SECONDS VERB

Each machine leaves its times in ``FOLDER/LABEL.times``: when it was ordered, and when it had booted.
Its cache is its own, and empty when it starts.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from workers.own_process import own_process

_BOOT = 'sleep "$1"; date +%s.%N >> "$2"; shift 2; exec "$@"'


def answer(folder: Path, boot_seconds: str, verb: str, message: dict[str, Any]) -> dict[str, Any]:
    """Do what one verb asks for, and return what to print."""
    match verb:
        case "offers":
            return {"offers": [{"id": "", "usd_per_hour": "0.30"}]}
        case "mint":
            return {"ref": str(_mint(folder, boot_seconds, message))}
        case "list":
            return {"instances": [one for path in folder.glob("*.pid") if (one := _instance(path))]}
        case _:
            _slay(folder / f"{message['label']}.pid")
            return {}


def _mint(folder: Path, boot_seconds: str, message: dict[str, Any]) -> int:
    times = folder / f"{message['label']}.times"
    times.write_text(f"{time.time()}\n")
    worker = subprocess.Popen(
        ["sh", "-c", _BOOT, "sh", boot_seconds, str(times), *own_process("workers")],
        env={
            **os.environ,
            **message["environment"],
            "YURT_ALLOW_HTTP": "1",
            "YURT_CACHE_DIR": str(times.with_suffix(".cache")),
        },
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (folder / f"{message['label']}.pid").write_text(str(worker.pid))
    return worker.pid


def _instance(path: Path) -> dict[str, Any] | None:
    pid = path.read_text()
    # A child of nobody's that has ended is reaped by init, or stays as a zombie where init is no init.
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return None if stat.rpartition(")")[2].split()[0] == "Z" else {"label": path.stem, "ref": pid}


def _slay(path: Path) -> None:
    if path.exists() and _instance(path):
        os.killpg(int(path.read_text()), signal.SIGKILL)


if __name__ == "__main__":
    print(json.dumps(answer(Path(sys.argv[1]), sys.argv[2], sys.argv[3], json.load(sys.stdin))))

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import logging, os, sys
import structlog
from workers import log

log.configure("%s")
structlog.contextvars.bind_contextvars(worker=7)
logger = structlog.get_logger()
logger.info("fetched", url="https://store/in/a?X-Amz-Signature=secret")
logging.getLogger("library").warning("retrying %%s", "https://store/in/a?X-Amz-Signature=secret")
logging.getLogger("httpx").info("chatter")
try:
    raise ValueError("https://store/in/a?X-Amz-Signature=secret")
except ValueError:
    logger.exception("failed")
if len(sys.argv) > 1:
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 2)
    logger.info("written to a closed pipe")
    print("alive")
"""


def run(style: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # As the local provider and the image start workers: Python's own flush at exit would fail on a closed stderr.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM % style, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )


def test_each_line_is_one_object_with_its_context() -> None:
    lines = [json.loads(line) for line in run("json").stderr.splitlines()]
    assert [line["event"] for line in lines] == ["fetched", "retrying https://store/in/a?…", "failed"]
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert all(line["worker"] == 7 and line["timestamp"].endswith("Z") for line in lines)
    assert "Traceback" in lines[2]["exception"]


def test_queries_of_urls_are_never_shown() -> None:
    for style in ("json", "console"):
        log = run(style).stderr
        assert "https://store/in/a" in log
        assert "secret" not in log


def test_a_closed_stderr_is_survived() -> None:
    assert run("json", "close").stdout == "alive\n"

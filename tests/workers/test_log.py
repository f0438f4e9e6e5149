from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from workers.log import MAX_CHARACTERS, shortened, without_queries

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
    raise ValueError("https://store/in/a?X-Amz-Signature=secret \\x1b]0;owned\\x07")
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


@pytest.mark.parametrize(
    "text",
    [
        "http://" * 150_000,
        "https://a" * 120_000,
        "http" * 250_000,
        "https://a?" * 100_000,
        "'" * 1_000_000,
        "https://" + "a" * 1_000_000,
    ],
)
def test_a_long_text_takes_time_in_proportion(text: str) -> None:
    """With the square of its length it would take hours: the time limit of each test ends that."""
    assert "?a" not in without_queries(text)


def test_urls_lose_their_queries_wherever_they_are() -> None:
    text = "GET 'https://a/b?X=1' and \"http://c?y\", https://d https://e/?f=http://g?h i?j"
    assert without_queries(text) == "GET 'https://a/b?…' and \"http://c?…\", https://d https://e/?… i?j"


def test_a_long_text_is_cut_between_lines() -> None:
    secret = "https://a/?Signature=" + "s" * MAX_CHARACTERS
    text = "x" * MAX_CHARACTERS + secret + "\nthe last line"
    cut = shortened(text)
    assert cut == f"{'x' * MAX_CHARACTERS}… ({len(text)} characters)\nthe last line"
    assert shortened(secret) == secret
    assert "Signature" not in shortened("x" * MAX_CHARACTERS + secret * 2)


def test_a_line_for_people_is_no_command_to_their_terminal() -> None:
    log = run("console").stderr
    assert "\\x1b]0;owned\\x07" in log
    assert all(character.isprintable() or character == "\n" for character in log)


def test_a_closed_stderr_is_survived() -> None:
    assert run("json", "close").stdout == "alive\n"

"""What a child inherits."""

from __future__ import annotations

import os

import pytest

from tests.workers.sandbox.jobs import JobFolder, python, run, sandbox
from workers.sandbox.environment import scrubbed


def test_the_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("YURT_TOKEN", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "SOME_API_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LC_TIME", "C")
    made = scrubbed({"MODEL": "m"})
    assert "secret" not in made.values()
    assert made["ORT_DISABLE_TELEMETRY"] == "1"
    assert (made["PATH"], made["LC_TIME"], made["MODEL"]) == (os.environ["PATH"], "C", "m")


async def test_no_secret_reaches_a_child(folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YURT_TOKEN", "secret")
    async with sandbox() as pool:
        labels = (await run(pool, python("environment"), folder.job())).labels
    assert "secret" not in labels.values()

"""Files that end their worker, among files that do not: real processes, killed by the handler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.stack import Stack, running
from tests.polling import wait_until
from webhook.config_file import load
from workers.handlers.registry import options_model

CONFIG = """
[server]
listen = "127.0.0.1:0"
[pipelines.sizes]
input = "s3://photos-in/uploads/"
output = "s3://photos-out/results/"
handler = "python"
options = { function = "killer:work" }
attempts = 2
backoff_seconds = 0.1
replica_lag_seconds = 0
sandbox = { mode = "off" }
[pools.local]
limit = 1
slots = 2
"""


def status(stack: Stack) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {stack.keys.admin}"}
    answer: dict[str, Any] = httpx.get(f"{stack.url}/v1/status", headers=headers).json()
    return answer


@pytest.mark.slow
def test_only_the_files_that_end_their_worker_are_parked(tmp_path: Path) -> None:
    path = tmp_path / "yurt.toml"
    path.write_text(CONFIG)
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    with running(load(path, options_model), path, tmp_path / "state", environment=environment) as stack:
        s3 = stack.s3()
        for number in range(14):
            name = "killer" if number in (2, 9) else "good"
            s3.put_object(Bucket="photos-in", Key=f"uploads/{number}-{name}", Body=b"content")

        def settled() -> bool:
            objects: dict[str, int] = status(stack)["pipelines"]["sizes"]["objects"]
            return objects == {"done": 12, "parked": 2}

        wait_until(settled, seconds=90, failure=lambda: str(status(stack)["pipelines"]))
        parked = status(stack)["parked"]
        assert sorted((item["key"], item["reason"], item["attempts"]) for item in parked) == [
            ("uploads/2-killer", "lost", 2),
            ("uploads/9-killer", "lost", 2),
        ]

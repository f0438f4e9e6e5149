"""Runs ``yurt`` as an operator of a stack does: in a folder with a configuration, with the stack's credentials."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from infra import tigris
from infra.stack import Stack
from tests.sources import ROOT

CONFIG = """
[server]
listen = "127.0.0.1:0"
[pipelines.photos]
input = "s3://photos-in/uploads/"
output = "s3://photos-out/results/"
[pools.local]
provider = "none"
limit = 20
"""


@dataclass(frozen=True)
class Shell:
    """Where commands run: a folder with a yurt.toml, and an environment."""

    stack: Stack
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What an operator of the stack has set."""
        keys = self.stack.keys
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),  # these sources, also where another checkout is installed
            "AWS_ENDPOINT_URL_S3": self.stack.endpoint,
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "YURT_WEBHOOK_SECRETS": keys.webhook,
            "YURT_ADMIN_TOKEN": keys.admin,
            "YURT_URL": self.stack.url,
        }

    def notify_of_all_keys(self) -> None:
        """Set the input bucket's notifications as the stack does when it starts, whichever test has changed them."""
        keys = self.stack.keys
        url = f"{self.stack.url}/v1/notifications/tigris"
        store = tigris.TigrisEndpoint(self.stack.endpoint, "auto", keys.access_key, keys.secret_key)
        tigris.apply(tigris.plan("photos-in", url, secret=tigris.Bearer(keys.webhook)), store)

    def yurt(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``yurt``; an empty variable is taken out of the environment."""
        given = {name: value for name, value in {**self.environment, **environment}.items() if value}
        command = [sys.executable, "-m", "webhook", *argv]
        return subprocess.run(
            command, cwd=self.folder, env=given, capture_output=True, text=True, timeout=60, check=False
        )

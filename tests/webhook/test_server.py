"""The server's own process: how many files it may open, and configurations with which it does not start."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.webhook.plane import configured
from webhook.config_faults import ConfigError
from webhook.pool_settings import Pool
from webhook.provider_settings import LocalSettings
from webhook.secret_settings import Secrets
from webhook.server import run

_SHOWN = """
import resource
from webhook.server import raise_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
raise_file_limit({connections})
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "now"),
    [
        (256, 2000, 768, 768 * 4 // 3 + 256),  # as far as is needed
        (256, 1000, 4096, 1000),  # as far as is allowed
        (1900, 2000, 64, 1900),  # never lower
    ],
)
def test_the_limit_of_open_files_is_raised(soft: int, hard: int, connections: int, now: int) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("this process may open too few files")
    program = _SHOWN.format(soft=soft, hard=hard, connections=connections)
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.split() == [str(now), str(hard)]


def test_it_does_not_start_where_rented_machines_could_not_call_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalSettings, "same_machine", False)
    config = configured(pools={"local": Pool()}, server={"open_webhook": True, "public_url": "http://localhost:8080"})
    secrets = Secrets(aws_access_key_id=SecretStr("tid_test"), aws_secret_access_key=SecretStr("tsec_test"))
    with pytest.raises(ConfigError, match=r"own address\. Set server\.public_url"):
        run(config, secrets, tmp_path / "state", announce=False)
    assert not (tmp_path / "state").exists(), "nothing was started before"

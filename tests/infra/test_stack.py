from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from infra.interrupts import Interrupted, Interrupts
from infra.stack import Stack, StackError, running
from infra.tigris import TigrisEndpoint, read_back
from tests.infra.conftest import CONFIG
from tests.polling import wait_until
from webhook.config import Config
from webhook.config_file import load
from workers.handlers.registry import options_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "yurt.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def config(path: Path) -> Config:
    return load(path, options_model)


def test_bucket_and_control_plane_run_and_know_each_other(stack: Stack) -> None:
    assert httpx.get(f"{stack.url}/readyz").status_code == 200
    assert {bucket["Name"] for bucket in stack.s3().list_buckets()["Buckets"]} == {"photos-in", "photos-out"}
    endpoint = TigrisEndpoint(stack.endpoint, "auto", stack.keys.access_key, stack.keys.secret_key)
    notifications = read_back("photos-in", endpoint)
    assert notifications is not None
    assert (notifications.url, notifications.auth) == (f"{stack.url}/v1/notifications/tigris", "bearer")
    stack.check()


def test_a_file_of_secrets_beside_the_configuration_is_not_read(config: Config, path: Path) -> None:
    path.with_suffix(".secrets").write_text("DATABASE_URL=postgresql://127.0.0.1:9/none\nYURT_ADMIN_TOKEN=real\n")
    with running(config, path, path.parent / "state") as stack:
        status = f"{stack.url}/v1/status"
        assert httpx.get(status, headers={"authorization": f"Bearer {stack.keys.admin}"}).status_code == 200
        assert httpx.get(status, headers={"authorization": "Bearer real"}).status_code == 401


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_services_inherit_an_allow_list_and_their_logs_are_private(
    config: Config, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITHUB_TOKEN", "DIRECT_DATABASE_URL", "PGPASSWORD"):
        monkeypatch.setenv(name, "of-something-else")
    with running(config, path, path.parent / "state") as stack:
        for service in stack.services:
            given = Path(f"/proc/{service.process.pid}/environ")
            if os.geteuid() == 0:
                assert b"of-something-else" not in given.read_bytes()
            else:
                with pytest.raises(PermissionError):
                    given.read_bytes()
        logs = [*(path.parent / "state").rglob("*.log")]
        assert {log.name for log in logs} == {"bucket.log", "control-plane.log", "server.log"}
        assert {log.stat().st_mode & 0o777 for log in logs} == {0o600}


def test_a_service_that_ends_is_named_with_its_log(config: Config, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The variables of other work in the same shell must not reach the services.
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:9/none")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("YURT_SERVER__LISTEN", "192.0.2.1:1")
    with running(config, path, path.parent / "state") as stack:
        plane = stack.services[1]
        os.kill(plane.process.pid, signal.SIGKILL)
        wait_until(lambda: plane.process.poll() is not None)
        with pytest.raises(
            StackError, match=r"control-plane ended by itself, with status -9; its log .* ends:"
        ) as ended:
            stack.check()
        assert str(plane.log) in str(ended.value)
    assert all(service.process.poll() is not None for service in stack.services)


def test_a_service_that_does_not_start_is_named_with_its_log(config: Config, path: Path) -> None:
    with (
        pytest.raises(StackError, match=r"(?s)bucket did not start; its log .*No such option .*--no-such-option"),
        running(config, path, path.parent / "state", bucket_options=["--no-such-option"]),
    ):
        pass


def test_an_interrupt_ends_the_start(config: Config, path: Path) -> None:
    interrupts = Interrupts()
    interrupts.count = 1
    with pytest.raises(Interrupted), running(config, path, path.parent / "state", interrupts=interrupts):
        pass

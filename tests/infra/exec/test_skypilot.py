"""The command for SkyPilot, against a stand-in of its SDK: a module of that name. The real one was never asked."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.sources import ROOT
from tests.webhook.fleet.providers.contract import TOKEN, labels, order
from webhook.fleet.providers import Instance, ProviderBusy
from webhook.fleet.providers.exec import ExecProvider
from webhook.provider_settings.exec import ExecSettings

STAND_IN = """
import enum, json, os, pathlib
folder = pathlib.Path(os.environ["SKY_STAND_IN"])
class exceptions:
    class ClusterDoesNotExist(Exception): pass
    class ResourcesUnavailableError(Exception): pass
class StatusRefreshMode(enum.Enum):
    FORCE = "FORCE"
class Status(enum.Enum):
    UP = "UP"
class Task:
    @classmethod
    def from_yaml(cls, path):
        task = cls(); task.path = path; return task
    def update_envs(self, envs): self.envs = envs
    def update_secrets(self, secrets): self.secrets = secrets
def launch(task, cluster_name, idle_minutes_to_autostop, down):
    if "full" in task.path: raise exceptions.ResourcesUnavailableError("no A100 anywhere")
    print("launching ...")
    (folder / f"{cluster_name}.json").write_text(json.dumps([task.envs, task.secrets, down]))
    return "request"
def status(refresh):
    return [{"name": path.stem, "status": Status.UP} for path in folder.glob("*.json")]
def down(name):
    path = folder / f"{name}.json"
    if not path.exists(): raise exceptions.ClusterDoesNotExist(name)
    path.unlink()
def get(request): return request
"""


def provider_of(task: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ExecProvider:
    (folder / "sky.py").write_text(STAND_IN)
    monkeypatch.setenv("SKY_STAND_IN", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    command = (sys.executable, str(ROOT / "infra/exec/skypilot.py"), task, "0.35")
    return ExecProvider(
        "yurt", "sky", ExecSettings(kind="exec", command=command, inherit=("SKY_STAND_IN",), rented=False)
    )


async def test_a_cluster_is_launched_listed_and_taken_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = provider_of("task.yaml", tmp_path, monkeypatch)
    [offer] = await provider.offers()
    wanted = order(offer=offer)
    ref = await provider.mint(wanted)
    environment, secrets, down = json.loads((tmp_path / f"{wanted.label}.json").read_text())
    assert environment == {"YURT_URL": wanted.url, "YURT_LABEL": wanted.label}
    assert (secrets, down) == ({"YURT_TOKEN": TOKEN}, True)
    (tmp_path / "mine-cluster.json").write_text("[]")
    assert labels(await provider.list()) == {wanted.label}
    await provider.slay(Instance(wanted.label, ref))
    await provider.slay(Instance(wanted.label, ref))
    assert labels(await provider.list()) == set()
    assert await provider.boot_log(wanted.label) == ""
    assert [finding.ok for finding in await provider.check()] == [True]


async def test_a_cloud_without_room_is_no_failed_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = provider_of("full.yaml", tmp_path, monkeypatch)
    with pytest.raises(ProviderBusy, match="no A100 anywhere"):
        await provider.mint(order())

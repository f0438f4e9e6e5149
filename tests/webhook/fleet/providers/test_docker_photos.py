"""Photos are processed by workers in containers: the image of the Dockerfile, the local bucket, a control plane."""

from __future__ import annotations

import os
import platform
import secrets
from pathlib import Path

import pytest

from infra.demo.progress import DemoProgress
from infra.demo.scenario import DemoSetup, run_demo
from infra.demo.verify import problems
from infra.interrupts import Interrupts
from tests.webhook.fleet.providers.container_engines import IMAGE_VARIABLE, missing, podman
from webhook.config_file import load
from workers.handlers.registry import options_model
from workers.sandbox.child import jail

IMAGE = os.environ.get(IMAGE_VARIABLE, "")
RELEASE = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
BASE = f"localhost/yurt-base:{RELEASE.get('VERSION_CODENAME', '')}"
"""Debian with Python and nothing of Yurt, on which ``.ci/containers`` builds that image."""
_CONFIG = """
[server]
name = "{name}"
[pipelines.photos]
input = "s3://photos-in/"
output = "s3://photos-out/"
pool = "containers"
sandbox = {{ mode = "{sandbox}" }}
[pools.containers]
provider = "engine"
boot_seconds = 280
[providers.engine]
kind = "docker"
host = "{host}"
image = "{image}"
{more}
pull = "never"
network = "host"
memory_bytes = 3000000000
machines = 2
"""


class SilentView:
    def note(self, text: str) -> None: ...

    def show(self, progress: DemoProgress) -> None: ...

    def __enter__(self) -> SilentView:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("image", "more"),
    [(IMAGE, ""), (BASE, 'bootstrap = "python"\nenvironment = { PIP_NO_CACHE_DIR = "1" }')],
    ids=["our image", "any image"],
)
@pytest.mark.skipif(bool(missing("podman")), reason=missing("podman"))
@pytest.mark.skipif(not IMAGE, reason=f"{IMAGE_VARIABLE} names no image of the Dockerfile: see .ci/containers")
def test_photos_are_processed_in_containers_and_none_is_left(image: str, more: str, tmp_path: Path) -> None:
    name = f"test{secrets.token_hex(4)}"
    # What a container may do is decided by the kernel that it shares with this process.
    sandbox = "on" if jail.support().missing else "require"
    with podman(own=False) as engine:
        path = tmp_path / "yurt.toml"
        path.write_text(_CONFIG.format(name=name, host=engine.host, image=image, sandbox=sandbox, more=more))
        setup = DemoSetup(load(path, options_model), path, "photos", tmp_path / "state", {}, seed=1)
        try:
            outcome = run_demo(setup, SilentView(), Interrupts())
            assert problems(outcome.inventory) == []
            assert outcome.inventory.snapshot.minted
            assert engine.run("ps", "--all", "--quiet", f"--filter=label=yurt.owner={name}") == ""
        finally:
            engine.remove_containers(name)

"""The files of ``deploy/`` and the image name what exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


def stages() -> set[str]:
    return set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))


def test_compose_builds_stages_of_the_image() -> None:
    for service in compose()["services"].values():
        if build := service.get("build"):
            assert (DEPLOY / build["context"] / "Dockerfile").is_file()
            assert build.get("target", "worker") in stages()


def test_compose_speaks_to_the_port_and_the_files_of_the_image() -> None:
    plane = compose()["services"]["control-plane"]
    assert f"EXPOSE {plane['ports'][0].split(':')[-1]}" in DOCKERFILE
    [mounted] = [volume.split(":")[1] for volume in plane["volumes"]]
    assert f"YURT_CONFIG={mounted}" in DOCKERFILE
    database = compose()["services"]["database"]["environment"]
    wanted = f"postgresql://{database['POSTGRES_USER']}:${{POSTGRES_PASSWORD:?set it in .env}}@database:5432/"
    assert plane["environment"]["DATABASE_URL"] == wanted + database["POSTGRES_DB"]


def test_no_port_is_open_to_other_machines() -> None:
    published = [port for service in compose()["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_no_secret_has_a_default() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|TOKEN|KEY)\w*):-[^}]", text) == []


def test_each_stage_copies_what_is_sent_to_the_build() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if re.match(r"COPY (?!--)", line)]
    assert {name for names in copied for name in names} <= sent
    assert all((ROOT / name).exists() for name in sent)


@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda unit: unit.name)
def test_units_run_commands_that_exist(unit: Path) -> None:
    [(command, rest)] = re.findall(r"^ExecStart=/opt/yurt/bin/yurt (\w+)(.*)$", unit.read_text(), re.MULTILINE)
    assert command in COMMANDS
    assert not rest or "--config" in rest


@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda unit: unit.name)
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_understands_the_units(unit: Path, tmp_path: Path) -> None:
    # The program is not installed here; every other line is verified as it is.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/yurt/bin/yurt", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_handler_of_the_image_is_the_one_on_the_pages() -> None:
    written = (DEPLOY / "handler" / "Dockerfile").read_text().splitlines()
    page = (ROOT / "docs" / "deploy.md").read_text()
    assert "\n".join(line for line in written if not line.startswith("#")) in page
    body = (DEPLOY / "handler" / "words.py").read_text().partition("words = len")[2]
    assert body in (ROOT / "README.md").read_text()

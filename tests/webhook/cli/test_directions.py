from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from infra.stack import Stack
from infra.stack_keys import StackKeys
from webhook.cli.directions import directions
from webhook.config import Pipeline


def printed(tmp_path: Path, *, kept: bool = False, prefix: str = "uploads/") -> str:
    pipeline = Pipeline.model_validate({"input": f"s3://photos-in/{prefix}", "output": "s3://photos-out/results/"})
    stack = Stack("http://127.0.0.1:9000", "http://127.0.0.1:8080", tmp_path, StackKeys(), ())
    return directions(stack, pipeline, "http://127.0.0.1:8080/enter#code", kept=kept)


@pytest.mark.parametrize("prefix", ["uploads/", "it's $HOME `here`/", 'a "b"/', "é 🏕/"])
def test_a_shell_gets_every_key_as_it_is(tmp_path: Path, prefix: str) -> None:
    text = printed(tmp_path, prefix=prefix)
    [line] = [line for line in text.splitlines() if "aws" in line and " cp " in line]
    script = f'aws() {{ printf "%s\\n" "$6"; }}; {line}'
    assert shell(script, tmp_path) == f"s3://photos-in/{prefix}photo.jpg"
    [line] = [line for line in text.splitlines() if "generate_presigned_url" in line]
    keys = "; ".join(line for line in text.splitlines() if line.startswith("  export"))
    url = shell(f"{keys}; {line}", tmp_path)
    assert url.startswith("http://127.0.0.1:9000/photos-in/")


def shell(script: str, folder: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    ran = subprocess.run(["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_the_page_comes_first(tmp_path: Path) -> None:
    lines = printed(tmp_path).strip().splitlines()
    assert lines[2].strip().startswith("http://127.0.0.1:8080/enter#code ")


def test_says_what_is_lost_and_what_is_kept(tmp_path: Path) -> None:
    assert "held in memory, lost at the end" in printed(tmp_path)
    assert f"kept in {tmp_path / 'bucket'}" in printed(tmp_path, kept=True)
    assert "lost at the end" not in printed(tmp_path, kept=True)

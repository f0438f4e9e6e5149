"""``yurt up`` as a process."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from types_boto3_s3.client import S3Client

from infra.demo.encoding import jpeg
from infra.demo.sample_images import SampleImage
from tests.processes import Command, yurt

FREE = {"YURT_SERVER__LISTEN": "127.0.0.1:0"}
RESULT = "results/uploads/photo.jpg/result.json"


def exported(output: str) -> dict[str, str]:
    """The variables of the lines that a person pastes into another terminal."""
    lines = [line.split()[1:] for line in output.splitlines() if line.strip().startswith("export ")]
    return dict(pair.split("=", 1) for line in lines for pair in line)


def client(keys: dict[str, str]) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=keys["AWS_ENDPOINT_URL_S3"],
        region_name=keys["AWS_REGION"],
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )


def is_there(s3: S3Client) -> bool:
    try:
        s3.head_object(Bucket="photos-out", Key=RESULT)
    except ClientError:
        return False
    return True


def stopped(up: Command) -> str:
    up.note_descendants()
    up.process.send_signal(signal.SIGINT)
    assert up.ended() == 0, up.output()
    assert up.left() == []
    assert "Traceback" not in up.output()
    return up.output()


@contextlib.contextmanager
def busy() -> Iterator[int]:
    """A port in use."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.slow
def test_a_photo_goes_through_and_ctrl_c_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg(SampleImage(240, 160, "UP").draw()))
    for name in ("workers", "webhook", "infra"):  # a user's own folders: none of Yurt's processes may import them
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')")
    with yurt("up", "--bucket-port", "0", cwd=tmp_path, environment=FREE) as up:
        up.until_printed("Ctrl-C stops everything")
        keys = exported(up.output())
        [line] = re.findall(r"^ *(.* -c .*upload_file.*)$", up.output(), re.MULTILINE)
        subprocess.run(line, shell=True, check=True, cwd=tmp_path, env=keys, timeout=60)
        s3 = client(keys)
        up.until(lambda: is_there(s3))
        assert json.loads(s3.get_object(Bucket="photos-out", Key=RESULT)["Body"].read())["key"] == "uploads/photo.jpg"
        up.until_printed("done 1")
        token = {"authorization": f"Bearer {keys['YURT_ADMIN_TOKEN']}"}
        status = httpx.get(f"{keys['YURT_URL']}/v1/status", headers=token).json()
        assert status["pipelines"]["photos"]["objects"] == {"done": 1}
        with yurt("up", cwd=tmp_path) as second:
            assert second.ended() == 1
            assert "another `yurt up` runs on" in second.output()
        assert "no process is left" in stopped(up)
    ledger_begins_anew(tmp_path)


def ledger_begins_anew(folder: Path) -> None:
    """Check that a second run has an empty ledger, as its bucket is empty, and takes other ports for those in use."""
    with busy() as taken, busy() as other:
        environment = {"YURT_SERVER__LISTEN": f"127.0.0.1:{taken}"}
        with yurt("up", "--bucket-port", str(other), cwd=folder, environment=environment) as up:
            up.until_printed("pending 0, leased 0, done 0")
            assert f"Port {taken} is in use" in up.output()
            assert f"Port {other} is in use" in up.output()
            stopped(up)

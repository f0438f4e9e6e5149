"""``yurt up`` as a process."""

from __future__ import annotations

import contextlib
import json
import os
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


def pasted(line: str, folder: Path, keys: dict[str, str]) -> str:
    """Run a printed command as another terminal does in the same folder."""
    ran = subprocess.run(
        line,
        shell=True,
        check=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], **keys},
        timeout=60,
        capture_output=True,
    )
    return ran.stdout.decode().strip()


def printed_command(output: str, part: str) -> str:
    [line] = [line.strip() for line in output.splitlines() if part in line]
    return line


@pytest.mark.slow
def test_a_photo_goes_through_and_ctrl_c_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg(SampleImage(240, 160, "UP").draw()))
    with yurt("up", "--bucket-port", "0", cwd=tmp_path, environment=FREE) as up:
        up.until_printed("Ctrl-C stops everything")
        keys = exported(up.output())
        pasted(printed_command(up.output(), "upload_file"), tmp_path, keys)
        s3 = client(keys)
        up.until(lambda: is_there(s3))
        assert json.loads(s3.get_object(Bucket="photos-out", Key=RESULT)["Body"].read())["key"] == "uploads/photo.jpg"
        up.until_printed("done 1")
        status = printed_command(up.output(), "status --watch").removesuffix("--watch")
        assert json.loads(pasted(status + "--json", tmp_path, {}))["pipelines"]["photos"]["objects"] == {"done": 1}
        page_uploads(pasted(printed_command(up.output(), "generate_presigned_url"), tmp_path, keys))
        with yurt("up", cwd=tmp_path) as second:
            assert second.ended() == 1
            assert "another `yurt up` runs on" in second.output()
        assert "no process is left" in stopped(up)
    begins_anew_with_the_same_keys(tmp_path, keys)


def page_uploads(url: str) -> None:
    """Upload by a presigned URL as a page of another origin does: first its browser asks."""
    for origin, allowed in (("http://localhost:5173", True), ("https://elsewhere.example", False)):
        asked = {
            "origin": origin,
            "access-control-request-method": "PUT",
            "access-control-request-headers": "content-type",
        }
        answer = httpx.options(url, headers=asked)
        assert (answer.status_code == 200) is allowed
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
    assert httpx.put(url, content=b"x", headers={"origin": "http://localhost:5173"}).headers["etag"]


def begins_anew_with_the_same_keys(folder: Path, keys: dict[str, str]) -> None:
    """Check that a second run has an empty ledger, as its bucket is empty, and takes other ports for those in use."""
    with busy() as taken, busy() as other:
        environment = {"YURT_SERVER__LISTEN": f"127.0.0.1:{taken}"}
        with yurt("up", "--bucket-port", str(other), cwd=folder, environment=environment) as up:
            up.until_printed("pending 0, leased 0, done 0")
            assert f"Port {taken} is in use" in up.output()
            assert f"Port {other} is in use" in up.output()
            again = exported(up.output())
            secret = ("AWS_SECRET_ACCESS_KEY", "YURT_ADMIN_TOKEN")
            assert [again[name] for name in secret] == [keys[name] for name in secret]
            stopped(up)


@pytest.mark.slow
def test_kept_objects_and_results_are_there_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg(SampleImage(240, 160, "UP").draw()))
    (tmp_path / ".yurt" / "postgres").mkdir(parents=True)  # of a `yurt serve` in the same folder
    arguments = ("up", "--bucket-port", "0", "--cors-origin", "https://app.example.com")
    with yurt(*arguments, "--keep", cwd=tmp_path, environment=FREE) as up:
        up.until_printed("Ctrl-C stops everything")
        client(exported(up.output())).upload_file(str(tmp_path / "photo.jpg"), "photos-in", "uploads/photo.jpg")
        up.until_printed("done 1")
        up.note_descendants()
        up.process.kill()
        up.ended()
        up.until_nothing_is_left()
    with yurt(*arguments, cwd=tmp_path, environment=FREE) as empty:
        empty.until_printed("pending 0, leased 0, done 0")
        stopped(empty)
    with yurt(*arguments, "--keep", cwd=tmp_path, environment=FREE) as again:
        again.until_printed("pending 0, leased 0, done 1")
        assert is_there(client(exported(again.output())))
        stopped(again)
    assert (tmp_path / ".yurt" / "postgres").is_dir()


def test_what_is_no_origin_is_refused(tmp_path: Path) -> None:
    with yurt("up", "--cors-origin", "example.com", cwd=tmp_path) as up:
        assert up.ended() == 2
        assert "'example.com' is no origin" in up.output()


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with yurt("up", "--state", "file/x", cwd=tmp_path) as up:
        assert up.ended() == 1
        assert "--state: " in up.output()
        assert "Traceback" not in up.output()

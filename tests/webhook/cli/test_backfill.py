"""``yurt backfill``: ordering, watching and cancelling sweeps from a terminal."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import httpx
import pytest
from botocore.config import Config
from types_boto3_s3.client import S3Client

from tests.polling import wait_until
from tests.webhook.cli.shell import Shell


@pytest.fixture
def s3(shell: Shell) -> Iterator[S3Client]:
    keys = shell.stack.keys
    config = Config(request_checksum_calculation="when_required")
    yield boto3.client(
        "s3", endpoint_url=shell.stack.endpoint, region_name="auto", config=config,
        aws_access_key_id=keys.access_key, aws_secret_access_key=keys.secret_key,
    )  # fmt: skip
    httpx.delete(f"{shell.stack.endpoint}/_yurt/faults")


@pytest.fixture
def folder(s3: S3Client) -> str:
    """A prefix with two objects."""
    prefix = f"uploads/{uuid4().hex[:8]}/"
    for name in ("a [b].jpg", "c.jpg"):
        s3.put_object(Bucket="photos-in", Key=prefix + name, Body=name.encode())
    return prefix


def test_backfill_counts_what_it_lists(shell: Shell, folder: str) -> None:
    result = shell.yurt("backfill", "photos", "--prefix", folder, "--json")
    assert result.returncode == 0, result.stderr
    [sweep] = json.loads(result.stdout)["sweeps"]
    assert (sweep["state"], sweep["prefix"], sweep["listed"]) == ("done", folder, 2)
    assert sweep["known"] + sweep["found"] == 2


def test_a_dry_run_as_a_table_shows_the_prefix_as_it_is(shell: Shell, folder: str) -> None:
    result = shell.yurt("backfill", "--prefix", folder + "a [b]", "--dry-run", "--full", COLUMNS="200")
    assert result.returncode == 0, result.stderr
    assert "full, dry run" in result.stdout
    assert "a [b]" in result.stdout


def test_detach_then_list_watch_and_cancel(shell: Shell, folder: str) -> None:
    result = shell.yurt("backfill", "--prefix", folder, "--rate", "1", "--since", "2h", "--detach", "--json")
    assert result.returncode == 0, result.stderr
    [sweep] = json.loads(result.stdout)["sweeps"]
    watched = shell.yurt("backfill", "--watch", str(sweep["id"]), "--json")
    assert json.loads(watched.stdout)["sweeps"][0]["state"] == "done"
    assert sweep["id"] in [
        listed["id"] for listed in json.loads(shell.yurt("backfill", "--list", "--json").stdout)["sweeps"]
    ]
    cancelled = shell.yurt("backfill", "--cancel", str(sweep["id"]), "--json")
    assert (cancelled.returncode, json.loads(cancelled.stdout)["sweeps"][0]["state"]) == (0, "done")


def test_a_listing_that_fails_ends_with_status_1(shell: Shell, folder: str) -> None:
    fault = {"bucket": "photos-in", "listing": True, "status": 403, "times": 3}
    assert httpx.post(f"{shell.stack.endpoint}/_yurt/faults", json=fault).status_code == 201
    result = shell.yurt("backfill", "--prefix", folder)
    assert result.returncode == 1
    assert "the store refuses access" in result.stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["no-such-pipeline"], "there are: photos"),
        (["--prefix", "elsewhere/"], "lies outside of what 'photos' watches"),
        (["--watch", "999999"], "there is no sweep of that number"),
    ],
)
def test_an_impossible_order_is_refused(shell: Shell, argv: list[str], message: str) -> None:
    result = shell.yurt("backfill", *argv)
    assert result.returncode == 1
    assert message in result.stderr


def test_since_is_a_duration_or_a_moment(shell: Shell) -> None:
    result = shell.yurt("backfill", "--since", "yesterday")
    assert result.returncode == 2
    assert "is no duration" in result.stderr


def test_interrupted_it_goes_on_and_says_how_to_look_again(shell: Shell, folder: str, tmp_path: Path) -> None:
    fault = {"bucket": "photos-in", "listing": True, "status": 503, "times": 1000}
    assert httpx.post(f"{shell.stack.endpoint}/_yurt/faults", json=fault).status_code == 201
    errors = tmp_path / "errors"
    with _backfill(shell, errors, "--prefix", folder) as process:
        [id] = wait_until(lambda: re.findall(r"Sweep (\d+) was ordered", errors.read_text()))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert f"yurt backfill --cancel {id}" in errors.read_text()
    ended = shell.yurt("backfill", "--cancel", id, "--json")
    assert (ended.returncode, json.loads(ended.stdout)["sweeps"][0]["state"]) == (0, "cancelled")


def test_interrupted_before_the_answer_it_says_how_to_see_whether_it_sweeps(shell: Shell, tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with _backfill(shell, errors, "--url", url) as process:
            silent.settimeout(30)
            connection, _ = silent.accept()  # the order is on its way
            with connection:
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 130
    assert "yurt backfill --list" in errors.read_text()


def _backfill(shell: Shell, errors: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with errors.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "webhook", "backfill", *arguments],
            cwd=shell.folder, env=shell.environment, stdout=subprocess.DEVNULL, stderr=stderr,
        )  # fmt: skip

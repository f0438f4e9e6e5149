from __future__ import annotations

import signal
import subprocess
import sys

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.infra.local.running import RunningBucket, running
from tests.infra.receiver import RecordingReceiver
from tests.polling import wait_until

PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "infra.local", "--bucket", "photos-in"], stdin=subprocess.PIPE,
                         env={**os.environ, "YURT_LIFELINE": "stdin"})
print(child.pid, file=sys.stderr, flush=True)
child.wait()
"""


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_it_says_where_it_listens_and_has_its_buckets(local: RunningBucket) -> None:
    assert local.endpoint.startswith("http://127.0.0.1:")
    names = [bucket["Name"] for bucket in local.s3().list_buckets()["Buckets"]]
    assert "photos-in" in names


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(number: signal.Signals) -> None:
    with running() as local, httpx.Client() as client:
        assert client.get(f"{local.endpoint}/_yurt/stats").status_code == 200  # and the connection stays open
        local.process.send_signal(number)
        assert local.process.wait(10) == 0


def test_it_stops_in_spite_of_a_hanging_request_and_a_hanging_webhook() -> None:
    with RecordingReceiver(0) as receiver, running("--bucket", "photos-in") as local:
        local.patch("photos-in", {"web_hook": receiver.url})
        local.s3().put_object(Bucket="photos-in", Key="a", Body=b"hello")
        receiver.wait(lambda receiver: len(receiver.posts) == 1)
        local.fault(delay_seconds=60)
        with pytest.raises(httpx.ReadTimeout):
            local.http.get(local.url("GET", "photos-in", "a"), timeout=0.2)
        local.process.terminate()
        assert local.process.wait(10) == 0


def test_it_does_not_outlive_a_parent_that_was_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        pid = int(parent.stderr.readline())
        assert "endpoint" in parent.stdout.readline()
        assert not is_gone(pid)
        parent.kill()
        wait_until(lambda: is_gone(pid))


def test_a_webhook_of_the_command_line_has_its_token_from_the_environment(receiver: RecordingReceiver) -> None:
    arguments = ("--bucket", "photos-in", "--notify", f"photos-in={receiver.url}")
    filtered = ("--filter", 'photos-in=WHERE `key` REGEXP "^up/"')
    with running(*arguments, *filtered, environment={"YURT_NOTIFY_TOKEN_PHOTOS_IN": "s3cret"}) as local:
        s3 = local.s3()
        s3.put_object(Bucket="photos-in", Key="up/a", Body=b"hello")
        s3.put_object(Bucket="photos-in", Key="a", Body=b"hello")
        local.flush()
        assert "s3cret" not in " ".join(psutil.Process(local.process.pid).cmdline())
    assert receiver.names_and_keys == [("OBJECT_CREATED_PUT", "up/a")]
    assert receiver.posts[0].headers["authorization"] == "Bearer s3cret"
    assert "versionstamp" not in receiver.events[0]["object"]

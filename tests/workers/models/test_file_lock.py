"""Locks between processes: readers beside each other, writers alone."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workers.models.errors import DownloadCancelled
from workers.models.file_lock import FileLock


def test_readers_share_and_a_writer_is_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = (FileLock.take(path, shared=True) for _ in range(2))
    assert first
    assert second
    assert FileLock.take(path, shared=False) is None
    first.close()
    second.close()
    with FileLock.wait(path, threading.Event()):
        assert FileLock.take(path, shared=True) is None


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import sys, time; from pathlib import Path; from workers.models.file_lock import FileLock;"
        "lock = FileLock.take(Path(sys.argv[1]), shared=False); print('locked', flush=True); time.sleep(3600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        assert FileLock.take(path, shared=True) is None
        process.kill()
    lock = FileLock.take(path, shared=False)
    assert lock
    lock.close()


def test_a_lock_whose_file_is_removed_lets_one_in_at_a_time(tmp_path: Path) -> None:
    path, slipped_in = tmp_path / "lock", list[FileLock]()

    def remove_often() -> None:
        for _ in range(300):
            with FileLock.wait(path, threading.Event()) as lock:
                if (other := FileLock.take(path, shared=False)) is not None:
                    slipped_in.append(other)
                lock.remove()

    with ThreadPoolExecutor(8) as threads:
        for running in [threads.submit(remove_often) for _ in range(8)]:
            running.result()
    assert not slipped_in


def test_a_wait_can_be_stopped(tmp_path: Path) -> None:
    path, stop = tmp_path / "lock", threading.Event()
    with FileLock.wait(path, stop), pytest.raises(DownloadCancelled):
        FileLock.wait(path, stop, stop.set)


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        FileLock.take(tmp_path / "lock", shared=True)
    assert not (tmp_path / "elsewhere").exists()

"""The cache on the disk: who may write, who reads, what outlasts a crash, and what no ``PartialFolder`` follows."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.polling import wait_until
from tests.workers.models.published import PART, TestModel, content, published
from tests.workers.models.range_server import RangeHandler, RangeStore, hang, serving
from workers.models.cache import ModelCache
from workers.models.download import DownloadLimits
from workers.models.errors import DownloadCancelled, ModelUnavailable
from workers.models.journal import boot_id

FILES = {"model.onnx": content(4 * PART + 7), "onnx/config.json": b"{}"}
SIZE = sum(map(len, FILES.values()))


def _settled(cache: Path) -> None:
    """Wait until a fetched model has reached the disk."""
    wait_until(lambda: not list(cache.glob("*.journal")))


def test_a_model_is_read_only_and_its_folder_its_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        model.fetch(ModelCache(folder)).run()
        modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (folder / model.ref.root).rglob("*")}
        assert modes == {"model.onnx": 0o400, "onnx": 0o500, "config.json": 0o400, "manifest.json": 0o400}
        assert stat.S_IMODE((folder / model.ref.root).stat().st_mode) == 0o500
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        _settled(folder)
        assert {path.name for path in folder.iterdir()} == {model.ref.root, f"{model.ref.root}.lock", "room.lock"}


def test_a_second_worker_fetches_nothing(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        model.fetch(ModelCache(tmp_path / "cache")).run()
        again = model.fetch(ModelCache(tmp_path / "cache"))
        again.run()
        assert (store.sent_bytes, model.asked) == (SIZE, 1)
        assert again.progress.done_bytes == SIZE


def test_four_processes_fetch_it_once(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        fetchers = [_fetcher(tmp_path / "cache", model) for _ in range(4)]
        assert [fetcher.wait(60) for fetcher in fetchers] == [0] * 4
        assert store.sent_bytes == SIZE
        assert model.is_in(ModelCache(tmp_path / "cache"))


def test_a_process_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model = published(store, {"model.onnx": content(40 * PART)})
        store.always = _only_the_first(25)
        fetcher = _fetcher(tmp_path / "cache", model)
        wait_until(lambda: _noted(tmp_path / "cache") == 25)
        assert not model.is_in(ModelCache(tmp_path / "cache"))
        fetcher.kill()
        fetcher.wait()
        store.always, before = None, store.sent_bytes
        model.fetch(ModelCache(tmp_path / "cache")).run()
        assert model.is_in(ModelCache(tmp_path / "cache"))
        assert store.sent_bytes - before == 15 * PART


def test_processes_that_are_killed_anywhere_leave_no_model_that_is_wrong(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        models = [published(store, {"a": content(3 * PART, seed), "b/c": b"c"}, f"m-{seed}") for seed in range(2)]
        orders = [
            json.dumps([json.loads(model.ref.model_dump_json()), json.loads(model.sources().model_dump_json())])
            for model in models
        ]
        # Room for one of them: each process also removes what the one before has fetched.
        arguments = [str(tmp_path / "cache"), str(4 * PART), "2", *orders]
        done = subprocess.run(
            [sys.executable, "-m", "tests.workers.models.killed", *arguments], stdout=subprocess.PIPE, check=False
        )
        assert done.returncode == 0, done
        assert int(done.stdout.split()[-1]) > 20
        assert models[1].is_in(ModelCache(tmp_path / "cache"))
        assert not models[0].is_in(ModelCache(tmp_path / "cache"))


def test_what_was_noted_before_a_crash_of_the_machine_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        _stopped_half_way(model, folder, store)
        [journal] = folder.glob("*.journal")
        [unfinished] = folder.glob("*.partial/model.onnx")
        noted = [int(line.split()[0]) for line in journal.read_text().splitlines()[1:]]
        journal.write_text(journal.read_text().replace(boot_id(), "b007ed-before"))
        with unfinished.open("r+b") as file:  # the disk never got this part
            file.seek(noted[0] * PART)
            file.write(bytes(PART))
        before = store.sent_bytes
        model.fetch(ModelCache(folder)).run()
        assert model.is_in(ModelCache(folder))
        assert store.sent_bytes - before == SIZE - (len(noted) - 1) * PART


def test_a_model_that_had_not_reached_the_disk_before_a_crash_is_proved_anew(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        model.fetch(ModelCache(folder)).run()
        _settled(folder)
        lines = [f"{number} {'0' * 64}" for number in range(5)]
        (folder / f"{model.ref.root}.journal").write_text("\n".join([f"yurt-model-1 {'0' * 64} before", *lines, ""]))
        assert not model.is_in(ModelCache(folder))
        model.fetch(ModelCache(folder)).run()
        assert model.is_in(ModelCache(folder))
        assert store.sent_bytes == 2 * SIZE


def test_a_reader_keeps_the_writer_waiting_who_can_be_stopped(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model, cache = published(store, FILES), ModelCache(tmp_path / "cache")
        model.fetch(cache).run()
        held = cache.hold(model.ref.root)
        assert held is not None
        stop, waited = threading.Event(), threading.Event()

        def waiting(_: int) -> None:
            waited.set()
            stop.set()

        with pytest.raises(DownloadCancelled), cache.writing(model.ref.root, stop, waiting):
            raise AssertionError
        assert waited.is_set()
        held.close()
        with cache.writing(model.ref.root, threading.Event()):
            assert cache.hold(model.ref.root) is None
        with contextlib.closing(cache.hold(model.ref.root)):  # type: ignore[type-var]
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_cache_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    os.chown(folder, 12_345, -1)
    with pytest.raises(ModelUnavailable, match=r"user id 12345's: set YURT_CACHE_DIR"):
        ModelCache(folder).hold("0" * 64)


def test_a_cache_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelUnavailable, match="no folder"):
        ModelCache(tmp_path / "cache").hold("0" * 64)


@pytest.mark.parametrize("place", ["model.onnx", "onnx"])
def test_a_link_in_a_folder_is_not_followed(tmp_path: Path, place: str) -> None:
    folder, outside = tmp_path / "cache", tmp_path / "outside"
    outside.mkdir()
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        _stopped_half_way(model, folder, store)
        [unfinished] = folder.glob("*.partial")
        target = unfinished / place
        if target.is_dir():
            (target / "config.json").unlink()
            target.rmdir()
            target.symlink_to(outside)
        else:
            target.unlink()
            target.symlink_to(outside / "x")
        with pytest.raises(OSError):
            model.fetch(ModelCache(folder)).run()
        assert list(outside.iterdir()) == []


def _only_the_first(parts: int) -> Callable[[RangeHandler], None]:
    """Serve so many parts of a large file, and never end the others."""
    return lambda handler: (
        handler.serve if handler.first < parts * PART < len(handler.data) else partial(hang, handler)
    )()


def _stopped_half_way(model: TestModel, folder: Path, store: RangeStore) -> None:
    """Fetch two parts, and be stopped."""
    store.always = _only_the_first(2)
    fetch = model.fetch(ModelCache(folder), DownloadLimits())
    with ThreadPoolExecutor() as threads:
        running = threads.submit(fetch.run)
        wait_until(lambda: _noted(folder) == 2)
        fetch.stop.set()
        assert isinstance(running.exception(), DownloadCancelled)
    store.always = None


def _noted(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) - 1 for path in folder.glob("*.journal"))


def _fetcher(folder: Path, model: TestModel) -> subprocess.Popen[bytes]:
    """Another process of this machine that needs the model."""
    program = (
        "import sys; from pathlib import Path; from workers.protocol import ModelRef, ModelSources;"
        "from workers.models.cache import ModelCache; from workers.models.fetch import ModelFetch;"
        "sources = ModelSources.model_validate_json(sys.argv[3]);"
        "ModelFetch(ModelCache(Path(sys.argv[1])), ModelRef.model_validate_json(sys.argv[2]), lambda: sources).run()"
    )
    arguments = (str(folder), model.ref.model_dump_json(), model.sources().model_dump_json())
    return subprocess.Popen([sys.executable, "-c", program, *arguments])

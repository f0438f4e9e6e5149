"""Downloads over real connections (``part_request``), from a store that fails in every way that was thought of.

URLs that end are renewed (``source_urls``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.polling import wait_until
from tests.workers.models.published import PART, content, published, unpublished
from tests.workers.models.range_server import (
    RangeHandler,
    RangeStore,
    cut_off,
    hang,
    long_body,
    nonsense,
    nothing,
    other_range,
    other_size,
    redirect,
    serving,
    short_body,
    trickle,
    unavailable,
    whole_file,
    wrong_bytes,
)
from workers.models.cache import ModelCache
from workers.models.download import DownloadLimits, DownloadProgress
from workers.models.errors import DownloadCancelled, ModelChanged, ModelUnavailable

FILES = {"model.onnx": content(5 * PART + 1_000), "config.json": b"{}", "empty": b"", "a/b/c.bin": content(PART, 1)}
SIZE = sum(map(len, FILES.values()))
PARTS = 8


def test_every_file_lands_in_its_place(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model, cache = published(store, FILES), ModelCache(tmp_path / "cache")
        fetch = model.fetch(cache)
        fetch.run()
        assert model.is_in(cache)
        assert (store.sent_bytes, model.asked) == (SIZE, 1)
        assert fetch.progress == DownloadProgress(SIZE, SIZE)
        assert len([1 for _, asked in store.requests if asked]) == PARTS


def test_a_model_that_nobody_published(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model, cache = unpublished(store, FILES), ModelCache(tmp_path / "cache")
        model.fetch(cache).run()
        assert model.is_in(cache)


@pytest.mark.parametrize(
    "fault",
    [
        cut_off,
        wrong_bytes,
        short_body,
        long_body,
        other_range,
        other_size,
        unavailable,
        nothing,
        nonsense,
        hang,
        trickle,
    ],
)
def test_a_part_that_went_wrong_is_fetched_again_and_not_the_file(
    tmp_path: Path, fault: Callable[[RangeHandler], None]
) -> None:
    with serving(RangeStore(faults=[fault])) as store:
        model, cache = published(store, FILES), ModelCache(tmp_path / "cache")
        model.fetch(cache).run()
        assert model.is_in(cache)
        assert len([1 for _, asked in store.requests if asked]) == PARTS + 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (wrong_bytes, r"\(5 times\).*it has other bytes than its manifest says: publish the model anew"),
        (cut_off, r"\(5 times\)"),
        (hang, r"\(5 times\).*could not be reached: TimeoutError"),
        (unavailable, r"\(5 times\).*503 SlowDown"),
        (whole_file, "the whole file: does a proxy"),
        (redirect, "answered a range with 307"),
    ],
)
def test_a_part_that_cannot_be_had_is_given_up_with_its_reason(
    tmp_path: Path, fault: Callable[[RangeHandler], None], says: str
) -> None:
    with serving(RangeStore(always=fault)) as store:
        model, cache = published(store, FILES), ModelCache(tmp_path / "cache")
        with pytest.raises(ModelUnavailable, match=says) as raised:
            model.fetch(cache).run()
        assert "sig=" not in str(raised.value)
        assert cache.hold(model.ref.root) is None
        assert not [thread for thread in threading.enumerate() if thread.name == "weights"]


def test_a_server_without_ranges_may_serve_what_is_one_part(tmp_path: Path) -> None:
    with serving(RangeStore(always=whole_file)) as store:
        model, cache = published(store, {"model.onnx": content(PART)}), ModelCache(tmp_path / "cache")
        model.fetch(cache).run()
        assert model.is_in(cache)


def test_urls_are_renewed_once_for_all_connections(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:

        def expire(sent: int) -> None:
            if sent >= 2 * PART and store.signature == "1":
                store.signature = "2"

        store.before_chunk = expire
        model, cache = published(store, FILES), ModelCache(tmp_path / "cache")
        model.fetch(cache).run()
        assert model.is_in(cache)
        assert model.asked == 2


def test_objects_that_change_meanwhile_are_no_mixture(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model, cache = unpublished(store, {"model.onnx": content(PART)}), ModelCache(tmp_path / "cache")

        def overwritten(handler: RangeHandler) -> None:
            store.put(f"{model.prefix}/model.onnx", content(PART, 5))
            cut_off(handler)

        store.faults = [overwritten]
        with pytest.raises(ModelChanged, match=r"model\.onnx has changed"):
            model.fetch(cache).run()
        assert not model.is_in(cache)


def test_a_store_that_ignores_if_match_is_noticed_by_its_etag(tmp_path: Path) -> None:
    def other(handler: RangeHandler) -> None:
        handler.send_response_only(206)
        handler.send_header("ETag", '"another"')
        handler.send_header("Content-Range", f"bytes {handler.first}-{handler.last}/{len(handler.data)}")
        handler.send_header("Content-Length", str(len(handler.part)))
        handler.end_headers()
        handler.wfile.write(handler.part)

    with serving(RangeStore(always=other)) as store:
        model = unpublished(store, {"model.onnx": content(PART)})
        with pytest.raises(ModelChanged):
            model.fetch(ModelCache(tmp_path / "cache")).run()


def test_a_download_that_is_stopped_ends_at_once_and_goes_on_later(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model, cache = published(store, FILES), ModelCache(tmp_path / "cache")
        store.before_chunk = lambda sent: store.ended.wait() if sent >= 3 * PART else None
        fetch = model.fetch(cache, DownloadLimits())  # as patient as in production
        raised: list[BaseException] = []
        thread = threading.Thread(target=_run, args=(fetch.run, raised))
        thread.start()
        wait_until(lambda: fetch.progress.done_bytes >= 2 * PART or store.sent_bytes >= 3 * PART)
        fetch.stop.set()
        thread.join(5.0)
        assert not thread.is_alive()
        assert [type(error) for error in raised] == [DownloadCancelled]
        assert not [each for each in threading.enumerate() if each.name == "weights"]
    with serving(RangeStore(objects=store.objects, etags=store.etags)) as again:
        model.store = again
        model.fetch(cache).run()
        assert again.sent_bytes < SIZE
        assert model.is_in(cache)


def test_a_disk_that_fails_is_the_machines_fault(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model, cache = published(store, FILES), ModelCache(tmp_path / "cache")
        store.faults = [_remove_cache(tmp_path / "cache")]
        with pytest.raises(OSError):
            model.fetch(cache).run()


def _remove_cache(folder: Path) -> Callable[[RangeHandler], None]:
    def fault(handler: RangeHandler) -> None:
        for path in folder.glob("*.partial/*"):
            if path.is_file():
                path.unlink()
        cut_off(handler)

    return fault


def _run(function: Callable[[], None], raised: list[BaseException]) -> None:
    try:
        function()
    except BaseException as error:
        raised.append(error)

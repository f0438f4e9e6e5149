"""What of this machine makes a model."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.webhook.models.stored import written
from webhook.models.local_files import ChangedMeanwhile, NoModel, collect, digested
from workers.protocol import MAX_MODEL_FILES

PART = 1 << 16


def test_a_folder_keeps_its_layout_without_what_git_and_hubs_keep_in_it(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "onnx/model.onnx": b"w", ".git/HEAD": b"x", ".gitattributes": b"x", ".cache/y": b"x"}
    found = collect([written(tmp_path / "m", files)])
    assert [file.path for file in found] == ["config.json", "onnx/model.onnx"]


def test_links_to_files_are_followed_as_hubs_caches_have_them(tmp_path: Path) -> None:
    blob = written(tmp_path, {"blobs/abc": b"weights"}) / "blobs/abc"
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/model.bin").symlink_to(blob)
    [file] = collect([tmp_path / "snapshot"])
    assert (file.path, file.size) == ("model.bin", 7)


def test_digests_are_of_parts_of_the_size(tmp_path: Path) -> None:
    content = os.urandom(2 * PART + 5)
    counts: list[int] = []
    manifest = digested(collect([written(tmp_path / "m", {"a.bin": content, "b": b""})]), counts.append, PART)
    parts = [content[at : at + PART] for at in range(0, len(content), PART)]
    assert manifest.files[0].parts == tuple(hashlib.sha256(part).hexdigest() for part in parts)
    assert manifest.files[1].parts == ()
    assert sum(counts) == len(content)


def test_a_file_that_is_written_to_meanwhile_is_not_published(tmp_path: Path) -> None:
    files = collect([written(tmp_path / "m", {"a.bin": b"before"})])
    (tmp_path / "m/a.bin").write_bytes(b"and after")
    with pytest.raises(ChangedMeanwhile, match="publish the model again"):
        digested(files, lambda _: None)


def test_what_makes_no_model_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = written(tmp_path / "m", {"a.bin": b"1"})
    for sources, why in (
        ([tmp_path / "no"], "no file"),
        ([], "no file to publish"),
        ([folder, written(tmp_path / "n", {"a.bin": b"2"})], r"would both be a\.bin"),
        ([written(tmp_path / "o", {"a\nb": b"2"})], "rename it"),
        ([written(tmp_path / "p", {".git/x": b"2"})], "no file to publish"),
    ):
        with pytest.raises(NoModel, match=why):
            collect(sources)
    os.mkfifo(folder / "pipe")
    with pytest.raises(NoModel, match="is no file"):
        collect([folder])
    (tmp_path / "q").mkdir()
    (tmp_path / "q/again").symlink_to(tmp_path / "q")
    with pytest.raises(NoModel, match="too deep"):
        collect([tmp_path / "q"])


def test_a_model_has_a_limit_of_files_and_its_manifest_a_name_of_its_own(tmp_path: Path) -> None:
    many = written(tmp_path / "many", {f"{n:04}": b"" for n in range(MAX_MODEL_FILES + 1)})
    with pytest.raises(NoModel, match="at most 1000 files"):
        collect([many])
    with pytest.raises(NoModel, match="the manifest's own name"):
        digested(collect([written(tmp_path / "m", {"manifest.json": b"{}"})]), lambda _: None)

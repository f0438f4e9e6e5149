"""The manifest of a model: canonical bytes, and nothing that is not whole is taken for one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from workers.models.manifest import ModelFile, ModelManifest, parts_of, root_of, unpublished_root

PART = 1 << 16
DIGEST = hashlib.sha256(b"x").hexdigest()


def manifest(*files: tuple[str, int]) -> ModelManifest:
    """A manifest with these paths and sizes."""
    return ModelManifest(
        part_bytes=PART,
        files=tuple(ModelFile(path=path, size=size, parts=(DIGEST,) * parts_of(size, PART)) for path, size in files),
    )


def test_a_manifest_is_read_as_it_was_written_and_equal_files_have_one_root() -> None:
    one, same = manifest(("a/b.bin", PART + 1), ("c.json", 0)), manifest(("a/b.bin", PART + 1), ("c.json", 0))
    assert ModelManifest.decode(one.encode()) == one
    assert root_of(one.encode()) == root_of(same.encode())
    assert root_of(one.encode()) != root_of(manifest(("a/b.bin", PART), ("c.json", 0)).encode())
    assert one.size == PART + 1


@pytest.mark.parametrize(("size", "parts"), [(0, 0), (1, 1), (PART, 1), (PART + 1, 2), (3 * PART, 3)])
def test_parts_of_a_file(size: int, parts: int) -> None:
    assert parts_of(size, PART) == parts


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"parts": []}, "has 0 parts"),
        ({"parts": [DIGEST, DIGEST]}, "has 2 parts"),
        ({"parts": ["A" * 64]}, "pattern"),
        ({"size": -1}, "greater than or equal"),
        ({"path": "../x"}, "below a folder"),
        ({"path": "/x"}, "below a folder"),
        ({"path": "a//x"}, "below a folder"),
        ({"path": "a/./x"}, "below a folder"),
        ({"path": "a\\x"}, "pattern"),
        ({"path": "a\nx"}, "pattern"),
        ({"path": "manifest.json"}, "manifest"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_what_is_not_whole_is_refused(change: dict[str, Any], why: str) -> None:
    document = {"part_bytes": PART, "files": [{"path": "a.bin", "size": 1, "parts": [DIGEST], **change}]}
    with pytest.raises(ValueError, match=why):
        ModelManifest.decode(json.dumps(document).encode())


@pytest.mark.parametrize("paths", [("b", "a"), ("a", "a"), ("a", "a/b"), ("manifest.json/x",)])
def test_paths_are_sorted_and_none_is_in_the_way_of_another(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"sorted|a file and a folder"):
        manifest(*((path, 1) for path in paths))


def test_the_root_of_objects_without_a_manifest_is_of_all_that_names_their_content() -> None:
    one = ("models", "a.onnx", "e1", 5)
    roots = {
        unpublished_root([each])
        for each in (
            one,
            ("other", *one[1:]),
            ("models", "b.onnx", "e1", 5),
            ("models", "a.onnx", "e2", 5),
            (*one[:3], 6),
        )
    }
    assert len(roots) == 5
    two = ("models", "b.onnx", "e2", 6)
    assert unpublished_root([one, two]) == unpublished_root([two, one])

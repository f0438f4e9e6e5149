"""The files of a model's folder: which is the graph, and what is said of those that are missing or broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.checks import model_folder
from workers.checks.model_config import ModelConfig
from workers.inference.errors import UnusableModelError


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("model.onnx",), "model.onnx"),
        (("onnx/model.onnx", "onnx/model_int8.onnx"), "onnx/model.onnx"),
        (("other.onnx",), "other.onnx"),
        (("a.onnx", "model.onnx"), "model.onnx"),
    ],
)
def test_the_graph(tmp_path: Path, names: tuple[str, ...], found: str) -> None:
    write(tmp_path, *names)
    assert model_folder.graph(tmp_path) == tmp_path / found


@pytest.mark.parametrize(
    ("names", "why"), [((), "no ONNX file: export"), (("a.onnx", "b.onnx"), r"several ONNX files \(a.onnx, b.onnx\)")]
)
def test_no_graph_or_several(tmp_path: Path, names: tuple[str, ...], why: str) -> None:
    write(tmp_path, *names)
    with pytest.raises(UnusableModelError, match=why):
        model_folder.graph(tmp_path)


def test_a_graph_is_no_larger_than_a_protobuf(tmp_path: Path) -> None:
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(UnusableModelError, match="2,147,483,649 bytes, at most"):
        model_folder.graph(tmp_path)


def read(folder: Path) -> ModelConfig:
    return model_folder.read_json(folder, "config.json", ModelConfig, "names the labels")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "has no config.json, which names the labels: take it from"),
        ("{", "config.json: Invalid JSON"),
        ("{}", "config.json: id2label: Field required"),
        ('{"id2label": {"0": ""}}', "config.json: id2label.0: String should have at least 1"),
        (" " * (1 << 20) + "{}", "longer than 1,048,576 bytes"),
    ],
)
def test_a_json_file_that_is_not_as_it_should_be(tmp_path: Path, content: str | None, why: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UnusableModelError, match=why):
        read(tmp_path)


def test_a_json_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"id2label": {"0": "cat"}}')
    assert read(tmp_path).labels == ["cat"]

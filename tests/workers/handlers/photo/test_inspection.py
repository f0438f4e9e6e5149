"""What models make of a photo, and what becomes of its pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import pyvips

from tests.workers.checks.graphs import CONFIG, PREPROCESSING, colour_graph, write_model
from tests.workers.handlers.photo.samples import solid
from workers.handlers import HandlerUnavailable
from workers.handlers.photo import inspection
from workers.handlers.photo.document import PictureState
from workers.handlers.photo.inspection import Inspection, inspect
from workers.handlers.photo.options import PhotoOptions

RED, HALF_RED, BLUE = (255, 0, 0), (128, 0, 0), (0, 0, 255)


def inspected(folder: Path, colour: tuple[int, int, int], **options: Any) -> Inspection:
    """Look at a photo of one colour: as much as it is red, it is NSFW."""
    models = {name: folder / name for name in ("safety", "labels")}
    if not folder.joinpath("safety").exists():
        write_model(models["safety"])
        names = {"id2label": {str(n): f"thing {n}" for n in range(3)}, "function_to_apply": "none"}
        write_model(models["labels"], colour_graph(outputs=2), names)
    asked = PhotoOptions.model_validate({"checks": ["safety"], **options})
    return inspect([solid(colour, 20, 20), solid(colour, 40, 40)], asked, models)


@pytest.mark.parametrize(
    ("colour", "verdict", "state"),
    [
        (BLUE, "ok", PictureState.PUBLISHED),
        (HALF_RED, "review", PictureState.PUBLISHED),
        (RED, "refused", PictureState.WITHHELD),
    ],
)
def test_verdicts(tmp_path: Path, colour: tuple[int, int, int], verdict: str, state: PictureState) -> None:
    found = inspected(tmp_path, colour)
    assert (found.fields["verdict"], found.pictures) == (verdict, state)
    [check] = found.fields["checks"]
    assert check.because == ([] if verdict == "ok" else ["NSFW"])
    surest = ("SFW", 1.0) if verdict == "ok" else ("NSFW", round(colour[0] / 255, 4))
    assert (check.labels[0].label, check.labels[0].score) == surest


@pytest.mark.parametrize(
    ("on_refused", "state"),
    [("publish", "published"), ("blur", "blurred"), ("withhold", "withheld")],
)
def test_what_becomes_of_a_photo_that_is_refused(tmp_path: Path, on_refused: str, state: str) -> None:
    assert inspected(tmp_path, RED, on_refused=on_refused).pictures == state
    assert inspected(tmp_path, HALF_RED, on_refused=on_refused).pictures == "published"


def test_thresholds_of_the_options_take_the_place_of_all_defaults(tmp_path: Path) -> None:
    green_only = {"safety": {"NSFL": {"review": 0.1, "refuse": 0.2}}}
    assert inspected(tmp_path, RED, thresholds=green_only).fields["verdict"] == "ok"
    assert inspected(tmp_path, (0, 60, 0), thresholds=green_only).fields["verdict"] == "refused"


def test_a_model_without_thresholds_gives_no_verdict(tmp_path: Path) -> None:
    assert inspected(tmp_path, RED, checks=["labels"]).fields["verdict"] is None
    both = inspected(tmp_path, RED, checks=["labels", "safety"]).fields
    assert (both["verdict"], [check.verdict for check in both["checks"]]) == ("refused", [None, "refused"])


def test_all_else_is_there_only_where_it_is_asked_for(tmp_path: Path) -> None:
    assert set(inspected(tmp_path, RED).fields) == {"verdict", "pictures", "checks"}
    assert inspected(tmp_path, RED, checks=[]) == Inspection(PictureState.PUBLISHED)
    more = inspected(tmp_path, RED, checks=["labels"], embedding="labels", sharpness=True).fields
    assert more["embedding"] == [1, 0, 0]
    assert more["sharpness"] == 0


def test_a_hash_is_there_where_it_is_asked_for(tmp_path: Path) -> None:
    if importlib.util.find_spec("pdqhash") is None:
        with pytest.raises(HandlerUnavailable, match=r"yurt\[pdq\]"):
            inspected(tmp_path, RED, checks=[], pdq=True)
    else:
        assert inspected(tmp_path, RED, checks=[], pdq=True).fields["pdq"].quality == 0


def test_the_ten_surest_labels_are_listed_and_each_that_has_a_threshold(tmp_path: Path) -> None:
    names = {"id2label": {str(n): f"thing {n}" for n in range(12)}}
    graph = colour_graph(labels=12)
    graph.graph.node[-1].output[0] = "means"
    graph.graph.node.append(
        type(graph.graph.node[0])(
            op_type="Concat",
            input=["means"] * 4,
            output=["scores"],
            attribute=[type(graph.graph.node[0].attribute[0])(name="axis", i=1, type=2)],
        )
    )
    folder = write_model(tmp_path / "safety", graph, names)
    options = PhotoOptions.model_validate(
        {"checks": ["safety"], "thresholds": {"safety": {"thing 11": {}, "thing 0": {}}}}
    )
    [check] = inspect([solid(RED, 20, 20)], options, {"safety": folder}).fields["checks"]
    listed = [each.label for each in check.labels]
    assert len(listed) == 11
    assert {"thing 0", "thing 11"} <= set(listed)


def refused(tmp_path: Path, message: str, **options: Any) -> None:
    with pytest.raises(HandlerUnavailable, match=message):
        inspected(tmp_path, RED, **options)


def test_what_no_photo_is_to_blame_for(tmp_path: Path) -> None:
    refused(tmp_path, "name other among the pipeline's models", checks=["other"])
    refused(tmp_path, "gives no embedding", embedding="safety")
    refused(tmp_path, r"no label nsfw, for which there is a threshold: NSFW, NSFL", thresholds={"safety": {"nsfw": {}}})


def test_a_model_that_cannot_be_used_blames_no_photo(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "safety", b"<html>")
    options = PhotoOptions(checks=["safety"])
    with pytest.raises(HandlerUnavailable, match=r"The model safety cannot be used: model\.onnx cannot be loaded"):
        inspection.load_models(options, {"safety": folder})
    write_model(folder, config={"id2label": CONFIG["id2label"]}, preprocessing={**PREPROCESSING, "size": 9})
    with pytest.raises(HandlerUnavailable, match="both have to be of one model"):
        inspect([pyvips.Image.black(9, 9)], options, {"safety": folder})

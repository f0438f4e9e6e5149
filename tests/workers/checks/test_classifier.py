"""Any image classifier in ONNX with Hugging Face's files works by naming it, and one that does not fit says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from onnx import TensorProto, helper

from tests.workers.checks.graphs import CONFIG, LABELS, PREPROCESSING, SIDE, colour_graph, detector_graph, write_model
from workers.checks import classifier
from workers.checks.classifier import Classifier
from workers.inference.errors import UnusableModelError

RED, GREEN = (255, 51, 0), (0, 255, 0)
AS_THEY_ARE = {**PREPROCESSING, "do_rescale": False}


def solid(colour: tuple[int, int, int], width: int = 40, height: int = 30) -> pyvips.Image:
    return pyvips.Image.new_from_array(np.full((height, width, 3), colour, np.uint8), interpretation="srgb")


def scores(model: Classifier, colour: tuple[int, int, int] = RED) -> dict[str, float]:
    return {each.label: round(each.score, 3) for each in model.look(solid(colour)).scores}


def test_labels_with_their_scores_the_surest_first(tmp_path: Path) -> None:
    found = Classifier(write_model(tmp_path)).look(solid(RED))
    assert [each.label for each in found.scores] == list(LABELS)
    assert scores(Classifier(tmp_path)) == {"NSFW": 1.0, "NSFL": 0.2, "SFW": 0.0}
    assert found.embedding is None


def test_softmax_and_sigmoid(tmp_path: Path) -> None:
    single = write_model(tmp_path / "single", config={"id2label": CONFIG["id2label"]})
    multi = write_model(
        tmp_path / "multi", config={"id2label": CONFIG["id2label"], "problem_type": "multi_label_classification"}
    )
    powers = np.exp([1.0, 0.2, 0.0])
    assert list(scores(Classifier(single)).values()) == pytest.approx(powers / powers.sum(), abs=1e-3)
    assert list(scores(Classifier(multi)).values()) == pytest.approx(1 / (1 + np.exp([-1.0, -0.2, 0.0])), abs=1e-3)


@pytest.mark.parametrize(
    ("shape", "kind", "preprocessing"),
    [
        (("n", SIDE, SIDE, 3), TensorProto.FLOAT, PREPROCESSING),
        ((1, 3, SIDE, SIDE), TensorProto.FLOAT, PREPROCESSING),
        (("n", 3, "h", "w"), TensorProto.FLOAT, PREPROCESSING),
        (("n", 3, SIDE, SIDE), TensorProto.FLOAT16, PREPROCESSING),
    ],
    ids=["channels-last", "one-at-once", "any-size", "float16"],
)
def test_inputs(tmp_path: Path, shape: tuple[Any, ...], kind: int, preprocessing: dict[str, Any]) -> None:
    model = Classifier(write_model(tmp_path, colour_graph(shape=shape, kind=kind), preprocessing=preprocessing))
    assert scores(model) == {"NSFW": 1.0, "NSFL": 0.2, "SFW": 0.0}


def test_whole_numbers(tmp_path: Path) -> None:
    graph = colour_graph(shape=("n", SIDE, SIDE, 3), kind=TensorProto.UINT8)
    config = {"id2label": CONFIG["id2label"], "function_to_apply": "softmax"}
    assert scores(Classifier(write_model(tmp_path, graph, config, AS_THEY_ARE)), (2, 1, 0)) == {
        "NSFW": 0.665,
        "NSFL": 0.245,
        "SFW": 0.09,
    }


def test_an_embedding_has_the_length_1(tmp_path: Path) -> None:
    model = Classifier(write_model(tmp_path, colour_graph(outputs=2)))
    found = model.look(solid((255, 0, 255)))
    assert model.has_embedding
    assert found.embedding == pytest.approx((0.7071, 0, 0.7071), abs=1e-4)


def test_the_smallest_picture_that_need_not_be_enlarged_is_looked_at(tmp_path: Path) -> None:
    model = Classifier(
        write_model(
            tmp_path,
            preprocessing={**PREPROCESSING, "size": {"shortest_edge": SIDE}}
            | {"do_center_crop": True, "crop_size": SIDE},
        )
    )
    sizes = [solid(RED, 100, 50), solid(RED, 9, 4), solid(RED, 20, 10)]
    assert model.choose(sizes).width == 20
    assert model.choose(sizes[1:2]).width == 9


def test_a_model_is_loaded_once(tmp_path: Path) -> None:
    assert classifier.load(write_model(tmp_path)) is classifier.load(tmp_path)


GRAPH_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "two-inputs": ({"inputs": 2}, "inputs pixels, mask: it should have one, for a picture"),
    "whole-numbers-of-64-bits": ({"kind": TensorProto.INT64}, r"tensor\(int64\) of the shape"),
    "four-channels": ({"shape": ("n", 4, SIDE, SIDE)}, "three channels are in none"),
    "eight-at-once": ({"shape": (8, 3, SIDE, SIDE)}, "takes 8 pictures at once"),
    "another-size": ({"shape": ("n", 3, 16, 16)}, "16 × 16 pixels, and preprocessor_config.json makes 8 × 8"),
    "whole-numbers": ({"kind": TensorProto.UINT8}, "do_rescale and do_normalize have to be false"),
}


@pytest.mark.parametrize("fault", GRAPH_FAULTS)
def test_a_graph_that_does_not_fit_says_why(tmp_path: Path, fault: str) -> None:
    shaped, why = GRAPH_FAULTS[fault]
    with pytest.raises(UnusableModelError, match=why):
        Classifier(write_model(tmp_path, colour_graph(**shaped)))


def test_a_graph_of_something_else_than_pictures(tmp_path: Path) -> None:
    sound = helper.make_tensor_value_info("sound", TensorProto.FLOAT, ["n", 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([helper.make_node("Identity", ["sound"], ["scores"])], "sounds", [sound], [scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(UnusableModelError, match=r"the input sound is tensor\(float\) .* in four dimensions"):
        Classifier(write_model(tmp_path, model))


def test_other_labels_than_the_graphs(tmp_path: Path) -> None:
    config = {"id2label": {str(n): f"label {n}" for n in range(5)}}
    why = r"no output .* each of the 5 labels in config\.json \(scores \['n', 3\]\)"
    with pytest.raises(UnusableModelError, match=why):
        Classifier(write_model(tmp_path, config=config))


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.onnx"])
def test_a_file_that_is_missing(tmp_path: Path, name: str) -> None:
    write_model(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UnusableModelError, match=f"has no ({name}|ONNX)"):
        Classifier(tmp_path)


def test_labels_with_a_gap(tmp_path: Path) -> None:
    with pytest.raises(UnusableModelError, match=r"config\.json: id2label has to number"):
        Classifier(write_model(tmp_path, config={"id2label": {"0": "a", "1": "b", "3": "c"}}))


def test_labels_are_counted_when_a_graph_does_not_say_how_many(tmp_path: Path) -> None:
    graph = colour_graph(labels="m")
    graph.graph.node[-1].output[0] = "means"
    graph.graph.initializer.append(helper.make_tensor("kept", TensorProto.BOOL, [3], [True, True, False]))
    graph.graph.node.append(helper.make_node("Compress", ["means", "kept"], ["scores"], axis=1))
    model = Classifier(write_model(tmp_path, graph))
    with pytest.raises(UnusableModelError, match=r"shape \(1, 2\) for one picture, and config.json has 3 labels"):
        model.look(solid(RED))


def test_numbers_that_are_no_scores_need_an_activation(tmp_path: Path) -> None:
    model = Classifier(write_model(tmp_path, preprocessing=AS_THEY_ARE))
    with pytest.raises(UnusableModelError, match=r"function_to_apply in config\.json has to be softmax or sigmoid"):
        model.look(solid(RED))


def test_what_is_no_number_is_no_score(tmp_path: Path) -> None:
    """A verdict of it would be ok: it is above no threshold."""
    infinite = {**PREPROCESSING, "do_normalize": True, "image_mean": [0, 0, 0], "image_std": [1e-6, 1, 1]}
    config = {"id2label": CONFIG["id2label"]}
    graph = colour_graph(kind=TensorProto.FLOAT16)
    model = Classifier(write_model(tmp_path, graph, config, infinite))
    with pytest.raises(UnusableModelError, match="infinite or none"), np.errstate(over="ignore"):
        model.look(solid(RED))


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> pyvips.Image:
    return solid(left, SIDE // 2, SIDE).join(solid(right, SIDE // 2, SIDE), "horizontal")


def test_a_detector_gives_the_surest_place_of_each_label(tmp_path: Path) -> None:
    model = Classifier(write_model(tmp_path, detector_graph()))
    found = model.look(halves((255, 0, 51), (51, 255, 0))).scores
    assert [(each.label, round(each.score, 3), each.box) for each in found] == [
        ("NSFW", 1.0, (0, 0, 0.5, 1)),
        ("NSFL", 1.0, (0.5, 0, 1, 1)),
        ("SFW", 0.2, (0, 0, 0.5, 1)),
    ]


def test_a_detector_sees_all_of_a_picture(tmp_path: Path) -> None:
    cropped = {**PREPROCESSING, "do_center_crop": True, "crop_size": SIDE}
    with pytest.raises(UnusableModelError, match="do_center_crop has to be false"):
        Classifier(write_model(tmp_path, detector_graph(), preprocessing=cropped))

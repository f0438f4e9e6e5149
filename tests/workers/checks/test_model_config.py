"""What a model's outputs mean, by its config.json."""

from __future__ import annotations

from typing import Any

import pytest

from workers.checks.model_config import Activation, ModelConfig


def config(**fields: Any) -> ModelConfig:
    return ModelConfig.model_validate({"id2label": {"0": "a", "1": "b"}, **fields})


@pytest.mark.parametrize(
    ("fields", "activation"),
    [
        ({}, Activation.SOFTMAX),
        ({"problem_type": None}, Activation.SOFTMAX),
        ({"problem_type": "single_label_classification"}, Activation.SOFTMAX),
        ({"problem_type": "multi_label_classification"}, Activation.SIGMOID),
        ({"function_to_apply": "none"}, Activation.NONE),
        ({"function_to_apply": "softmax", "problem_type": "multi_label_classification"}, Activation.SOFTMAX),
    ],
)
def test_the_activation(fields: dict[str, Any], activation: Activation) -> None:
    assert config(**fields).activation is activation


def test_labels_are_ordered_by_their_numbers_and_other_fields_are_ignored() -> None:
    assert config(id2label={"1": "b", "0": "a", "2": "c"}, architectures=["ViT"]).labels == ["a", "b", "c"]


@pytest.mark.parametrize("numbers", [("1", "2"), ("0", "2")])
def test_labels_have_no_gap(numbers: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="without a gap"):
        config(id2label=dict.fromkeys(numbers, "a")).labels  # noqa: B018


@pytest.mark.parametrize("fields", [{"id2label": {}}, {"id2label": {"x": "a"}}, {"function_to_apply": "tanh"}])
def test_what_is_wrong_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        config(**fields)

"""Describes what a model's outputs mean: ``config.json``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

FILE = "config.json"
MAX_LABELS = 50_000
Label = Annotated[str, Field(min_length=1, max_length=200)]


class Activation(StrEnum):
    """What makes scores between 0 and 1 of a graph's numbers."""

    SOFTMAX = "softmax"
    """One label is right: the scores of all add up to 1."""
    SIGMOID = "sigmoid"
    """Each label is right or not by itself."""
    NONE = "none"
    """They are scores already."""


class ModelConfig(BaseModel):
    """Labels and activation, by the names that Hugging Face gives them. Other fields are ignored."""

    model_config = ConfigDict(frozen=True)

    id2label: Annotated[dict[int, Label], Field(min_length=1, max_length=MAX_LABELS)]
    """The label of each number that the graph gives, by its place."""
    problem_type: Literal["single_label_classification", "multi_label_classification"] | None = None
    """Whether one label is right, or any number of them."""
    function_to_apply: Activation | None = None
    """The activation, where ``problem_type`` does not tell it: ``none`` for a graph that ends in one."""

    @property
    def labels(self) -> list[str]:
        """The labels by their place. Raises ValueError where they are not numbered from 0 without a gap."""
        if sorted(self.id2label) != list(range(len(self.id2label))):
            raise ValueError("id2label has to number the labels from 0 without a gap")
        return [self.id2label[place] for place in range(len(self.id2label))]

    @property
    def activation(self) -> Activation:
        """As ``function_to_apply`` says, or else as suits the kind of problem."""
        if self.function_to_apply is not None:
            return self.function_to_apply
        return Activation.SIGMOID if self.problem_type == "multi_label_classification" else Activation.SOFTMAX

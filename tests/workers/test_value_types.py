"""Values that messages and settings share are checked by their types."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from workers.value_types import ModelName, ModelPath, Sha256, UsdText, placed_models


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Sha256, ["0" * 64, "abcdef" + "9" * 58], ["0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n"]),
        (ModelName, ["a", "sd-xl-1", "9" * 63], ["", "-a", "A", "a_b", "a" * 64]),
        (ModelPath, ["a", "a/b.onnx", "x y (1).bin"], ["", "/a", "a/", "a//b", "..", "a/../b", "a\\b", " a", "a./b"]),
        (UsdText, ["0", "0.000001", "12.5"], ["", "-1", "1e3", ".5", "1.", "NaN", "1,5"]),
    ],
)
def test_what_is_of_a_type_and_what_is_not(kind: Any, good: list[str], bad: list[str]) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    assert [adapter.validate_python(text) for text in good] == good
    for text in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(text)


def test_models_whose_folders_texts_hold_are_found_whatever_their_names() -> None:
    texts = ["--a={model:a}/x:{model:b-2}", "{model:a}", "{model:A b}", "{model}", "{model:", '{"model:x": {}}']
    assert placed_models(texts) == {"a", "b-2", "A b"}
    assert placed_models([]) == set()

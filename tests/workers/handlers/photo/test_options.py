"""The photo handler's options."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from workers.handlers.photo.options import PhotoOptions


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": []},
        {"sizes": [256, 256]},
        {"sizes": [15]},
        {"sizes": ["256"]},
        {"quality": 101},
        {"cache_control": "max-age=1\r\nx: y"},
        {"colour": "red"},
        {"checks": ["safety", "safety"]},
        {"checks": ["Safety"]},
        {"checks": ["../safety"]},
        {"thresholds": {"safety": {"NSFW": {}}}},
        {"checks": ["safety"], "thresholds": {"safety": {"NSFW": {"review": 0.9, "refuse": 0.8}}}},
        {"checks": ["safety"], "embedding": "labels"},
        {"on_refused": "delete"},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PhotoOptions.model_validate(options)


def test_what_phones_take_is_read_by_default() -> None:
    assert PhotoOptions().max_pixels == 268_402_689 > 16_320 * 12_240


def test_large_pictures_get_less_effort_unless_it_is_given() -> None:
    assert [PhotoOptions().effort_of(size) for size in (256, 512, 513, 1600)] == [4, 4, 2, 2]
    assert PhotoOptions(effort=6).effort_of(1600) == 6


@pytest.mark.parametrize(
    ("options", "size"),
    [({}, 1600), ({"sizes": [64]}, 64), ({"sizes": [64], "pdq": True}, 512), ({"sizes": [64], "checks": ["a"]}, 512)],
)
def test_models_are_shown_more_than_a_thumbnail(options: dict[str, Any], size: int) -> None:
    assert PhotoOptions.model_validate(options).decoded_size == size


def test_thresholds_are_given_by_check_and_label() -> None:
    given = {"checks": ["safety"], "thresholds": {"safety": {"NSFW": {"review": 0.2}}}}
    threshold = PhotoOptions.model_validate(given).thresholds["safety"]["NSFW"]
    assert (threshold.review, threshold.refuse) == (0.2, 0.85)

"""The demo's photos, made once; and the results of some of them, as the real handler makes them."""

from __future__ import annotations

import pytest

from infra.demo.found import Found
from infra.demo.photos import Photo, plans
from tests.infra.demo.darkroom import develop

SEED = 7
DEVELOPED = ("orientation-6.jpg", "cmyk.jpg", "alpha.png", "animation.gif", "tiny.jpg", "truncated.jpg", "photo.tif")


@pytest.fixture(scope="session")
def photos() -> dict[str, Photo]:
    return {photo.name: photo for plan in plans(SEED) for photo in plan()}


@pytest.fixture(scope="session")
def found(photos: dict[str, Photo], tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What is to be found when all went well. Not to be changed: use ``dataclasses.replace``."""
    return develop([photos[name] for name in DEVELOPED], tmp_path_factory.mktemp("darkroom"))

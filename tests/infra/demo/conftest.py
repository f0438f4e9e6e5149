"""The demo's photos, made once; and the results of some of them, as the real handler makes them."""

from __future__ import annotations

import pytest

from infra.demo.inventory import Inventory
from infra.demo.photos import SamplePhoto, plans
from tests.infra.demo.fixtures import develop

SEED = 7
DEVELOPED = ("orientation-6.jpg", "cmyk.jpg", "alpha.png", "animation.gif", "tiny.jpg", "truncated.jpg", "photo.tif")


@pytest.fixture(scope="session")
def photos() -> dict[str, SamplePhoto]:
    return {photo.name: photo for plan in plans(SEED) for photo in plan()}


@pytest.fixture(scope="session")
def found(photos: dict[str, SamplePhoto], tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    """What is to be found when all went well. Not to be changed: use ``dataclasses.replace``."""
    return develop([photos[name] for name in DEVELOPED], tmp_path_factory.mktemp("darkroom"))

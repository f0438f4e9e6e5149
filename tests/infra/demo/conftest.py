"""The demo's photos, made once, and the results of some of them, made by the real handler."""

from __future__ import annotations

import pytest

from infra.demo.inventory import Inventory
from infra.demo.photos import SamplePhoto, photo_makers
from tests.infra.demo.fixtures import process_photos

SEED = 7
PROCESSED = ("orientation-6.jpg", "cmyk.jpg", "alpha.png", "animation.gif", "tiny.jpg", "truncated.jpg", "photo.tif")


@pytest.fixture(scope="session")
def photos() -> dict[str, SamplePhoto]:
    return {photo.name: photo for make in photo_makers(SEED) for photo in make()}


@pytest.fixture(scope="session")
def inventory(photos: dict[str, SamplePhoto], tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    """The inventory after a run in which all went well. Not to be changed: use ``dataclasses.replace``."""
    return process_photos([photos[name] for name in PROCESSED], tmp_path_factory.mktemp("photos"))

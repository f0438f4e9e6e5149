"""The configuration that the demo runs on. The whole demo runs in ``tests/webhook/cli/test_demo.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.demo.scenario import DemoSetup, UnsuitableConfigError, photo_pipeline
from webhook.config import Config
from webhook.config_file import load
from workers.handlers.registry import options_model

POOL = """
[pools.cheap]
provider = "local"
limit = 100
"""
OTHER = """
[pipelines.copies]
input = "s3://files-in/"
output = "s3://files-out/"
handler = "command"
pool = "cheap"
options = { argv = ["cp", "{input}", "{output}/copy"] }
"""
PHOTOS = """
[pipelines.photos]
input = "s3://photos-in/"
output = "s3://photos-out/"
pool = "cheap"
"""


def config(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "yurt.toml"
    path.write_text(text)
    return load(path, options_model)


def test_the_photo_pipeline_is_found_among_others(tmp_path: Path) -> None:
    assert photo_pipeline(config(tmp_path, OTHER + PHOTOS + POOL)) == "photos"


@pytest.mark.parametrize("text", [OTHER + POOL, PHOTOS + POOL.replace('"local"', '"none"')])
def test_a_configuration_without_local_photos_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnsuitableConfigError, match='handler = "photo" on a pool with provider = "local"'):
        photo_pipeline(config(tmp_path, text))


def test_models_that_the_demo_does_not_have_are_refused(tmp_path: Path) -> None:
    text = PHOTOS + 'models = ["own"]\n[models.own]\nsource = "s3://models/own"\n' + POOL
    with pytest.raises(UnsuitableConfigError, match=r"pipelines\.photos\.models: the demo's bucket has no own"):
        photo_pipeline(config(tmp_path, text))


def test_the_demo_overrides_port_and_pool_and_keeps_other_variables(tmp_path: Path) -> None:
    environment = {"YURT_SERVER__BODY_LIMIT_BYTES": "1000", "YURT_POOLS__CHEAP__IDLE_SECONDS": "300"}
    setup = DemoSetup(config(tmp_path, PHOTOS + POOL), tmp_path / "yurt.toml", "photos", tmp_path, environment, seed=7)
    overrides = setup.overrides()
    assert overrides["YURT_SERVER__BODY_LIMIT_BYTES"] == "1000"
    assert overrides["YURT_SERVER__LISTEN"] == "127.0.0.1:0"
    assert overrides["YURT_POOLS__CHEAP__IDLE_SECONDS"] == "3"
    assert 2 <= int(overrides["YURT_POOLS__CHEAP__LIMIT"]) <= 20

"""How ``yurt.toml`` is read. What is refused of its fields: test_config.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from webhook.config_faults import ConfigError
from webhook.config_file import load
from workers.handlers.registry import options_model

pytestmark = pytest.mark.usefixtures("empty_environment")


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    return tmp_path / "yurt.toml"


def test_the_handlers_folder_is_relative_to_the_file_and_has_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "project" / "yurt.toml"
    path.parent.mkdir()
    pipeline = '[pipelines.photos]\ninput = "s3://inbox/"\noutput = "s3://outbox/"\n'
    path.write_text(pipeline)
    monkeypatch.chdir(tmp_path)
    assert load(Path("project/yurt.toml"), options_model).server.handlers == str(path.parent)
    path.write_text(f'[server]\nhandlers = "own"\n{pipeline}')
    with pytest.raises(ConfigError, match=r"server\.handlers: there is no folder"):
        load(path, options_model)
    (path.parent / "own").mkdir()
    assert load(path, options_model).server.handlers == str(path.parent / "own")


def test_a_check_has_to_be_one_of_the_pipelines_models(tmp_path: Path) -> None:
    path = tmp_path / "yurt.toml"
    path.write_text(
        '[models.safety]\nsource = "s3://models/safety"\n[pipelines.photos]\ninput = "s3://photos-in/"\n'
        'output = "s3://photos-out/"\noptions = { checks = ["safety"] }\n'
    )
    with pytest.raises(ConfigError, match=r"pipelines\.photos\.options\.checks: 'safety' is none .*: add it to models"):
        load(path, options_model)
    path.write_text(path.read_text() + 'models = ["safety"]\n')
    assert load(path, options_model).pipelines["photos"].models == ("safety",)


@pytest.mark.parametrize(
    ("setting", "written"),
    [
        ("command", '["serve", "--at={model:a}/{model:b}"]'),
        ("environment", '{ WEIGHTS = "{model:b}", A = "{model:a}" }'),
    ],
)
def test_a_model_whose_folder_a_server_gets_has_to_be_one_of_the_pipelines_models(
    tmp_path: Path, setting: str, written: str
) -> None:
    path = tmp_path / "yurt.toml"
    path.write_text(
        '[models.a]\nsource = "s3://models/a"\n[models.b]\nsource = "s3://models/b"\n'
        f'[pipelines.photos.options]\nport = 8000\nbody = "file"\n{setting} = {written}\n'
        '[pipelines.photos]\ninput = "s3://photos-in/"\noutput = "s3://photos-out/"\nhandler = "http"\nmodels = ["a"]\n'
    )
    with pytest.raises(ConfigError, match=rf"pipelines\.photos\.options\.{setting}: 'b' is none .*: add it to models"):
        load(path, options_model)
    path.write_text(path.read_text().replace('models = ["a"]', 'models = ["a", "b"]'))
    assert load(path, options_model).pipelines["photos"].models == ("a", "b")

"""Checks that are added to a configuration without any."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.models.recommended_checks import RecommendedChecks, can_be_added
from webhook.cli.sample import SAMPLE
from webhook.config_file import load
from workers.handlers.registry import options_model

CHECKS = RecommendedChecks("photos", {"safety": Path("/safety"), "labels": Path("/labels")})


def test_the_variables_give_a_control_plane_the_same_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(SAMPLE, options_model)
    expected = CHECKS.added_to(before)
    for name, value in CHECKS.environment().items():
        monkeypatch.setenv(name, value)
    assert load(SAMPLE, options_model) == expected
    assert expected.pipelines["photos"].options["checks"] == ["safety", "labels"]
    assert expected.pipelines["photos"].options["sizes"] == before.pipelines["photos"].options["sizes"]


@pytest.mark.parametrize(
    ("lines", "added"),
    [
        ("", True),
        ('handler = "command"\noptions = { argv = ["cp", "{input}", "{output}/copy"] }', False),
        ('models = ["own"]\n[models.own]\nsource = "s3://models/own"', False),
    ],
)
def test_a_configuration_with_models_of_its_own_stays_as_it_is(tmp_path: Path, lines: str, added: bool) -> None:
    path = tmp_path / "yurt.toml"
    path.write_text(f'[pipelines.photos]\ninput = "s3://photos-in/"\noutput = "s3://photos-out/"\n{lines}\n')
    assert can_be_added(load(path, options_model), "photos") is added

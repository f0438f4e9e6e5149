"""``yurt definitions``, ``diff`` and ``rollback`` against a running control plane."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.webhook.cli.operator import yurt
from tests.webhook.plane import configured, control_plane, pipeline

APP = """
[pipelines.caption]
input = "s3://captions-in/"
output = "s3://captions-out/"
attempts = {attempts}
"""


async def test_an_app_is_replaced_and_shown(postgres_dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "captions.toml"
    file.write_text(APP.format(attempts=3))
    async with control_plane(postgres_dsn, loops=False) as plane:
        result = await yurt(plane, "definitions", "replace", "captions", str(file), "--dry-run")
        assert (result.returncode, result.stdout.splitlines()[0]) == (0, "+ pipelines.caption"), result.stderr
        assert "    attempts = 3" in result.stdout
        assert "caption" not in (await yurt(plane, "definitions", "list")).stdout
        result = await yurt(plane, "definitions", "replace", "captions", str(file), "--note", "fir\u202est")
        assert result.stdout.endswith("captions is at version 1.\n"), result.stderr
        result = await yurt(plane, "definitions", "replace", "captions", str(file), "--expect", "0")
        assert (result.returncode, "it is at version 1" in result.stderr) == (1, True)
        shown = (await yurt(plane, "definitions", "show", "captions")).stdout
        assert "attempts = 3" in shown
        assert "fir\\u202est" in shown
        rows = [line.split()[:4] for line in (await yurt(plane, "definitions", "list")).stdout.splitlines()]
        assert ["pipelines", "caption", "deploy:captions", "1"] in rows
        assert ["pipelines", "photos", "file", "1"] in rows


async def test_an_app_is_rolled_back_and_removed(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        for attempts in (3, 4):
            tables = tomllib.loads(APP.format(attempts=attempts))
            await plane.admin("POST", "/v1/deployments", json={"app": "captions", "definitions": tables})
        tried = await yurt(plane, "rollback", "captions", "--dry-run")
        assert tried.stdout == "~ pipelines.caption\n    attempts = 4 → 3\n"
        rolled = await yurt(plane, "rollback", "captions", "1")
        assert rolled.stdout.endswith("captions is at version 3.\n")
        asked = await yurt(plane, "definitions", "remove", "captions")
        assert (asked.returncode, "give --yes" in asked.stderr) == (2, True)
        tried = await yurt(plane, "definitions", "remove", "captions", "--dry-run")
        assert tried.stdout.startswith("- pipelines.caption\n")
        removed = await yurt(plane, "definitions", "remove", "captions", "--yes")
        assert removed.stdout.endswith("captions is removed. To bring it back: yurt rollback captions\n")
        back = json.loads((await yurt(plane, "rollback", "captions", "--json")).stdout)
        assert (back["version"], back["changes"][0]["change"]) == (5, "added")
        listed = json.loads((await yurt(plane, "definitions", "list", "--json")).stdout)
        assert {each["name"] for each in listed["definitions"]} == {"photos", "local", "caption"}


async def test_an_app_that_was_never_deployed(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        for argv in (
            ("definitions", "show", "no one"), ("definitions", "remove", "nobody", "--yes"), ("rollback", "nobody"),
        ):  # fmt: skip
            result = await yurt(plane, *argv)
            assert (result.returncode, "was ever deployed" in result.stderr) == (1, True), result.stderr


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ('[pipelines.caption]\ninput = "s3://a/"\n', 1, "pipelines.caption.output: Field required"),
        ("[pipelines", 2, "is not TOML"),
        (None, 2, "cannot be read: No such file"),
        ("[server]\n", 1, "server: there is no such setting"),
    ],
)
async def test_what_cannot_be_deployed(
    postgres_dsn: str, tmp_path: Path, text: str | None, status: int, message: str
) -> None:
    file = tmp_path / "app.toml"
    if text is not None:
        file.write_text(text)
    async with control_plane(postgres_dsn, loops=False) as plane:
        result = await yurt(plane, "definitions", "replace", "captions", str(file))
        assert (result.returncode, message in result.stderr) == (status, True), result.stderr


async def test_a_file_is_compared_with_what_holds(postgres_dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "yurt.toml"
    config = configured({"photos": {"input": "s3://inbox/", "output": "s3://outbox/"}}, pools={"local": {}})
    async with control_plane(postgres_dsn, config, loops=False) as plane:
        photos = '[pipelines.photos]\ninput = "s3://inbox/"\noutput = "s3://outbox/"\n'
        file.write_text(photos)
        same = await yurt(plane, "diff", "--config", str(file))
        assert (same.returncode, same.stdout) == (0, "Nothing differs.\n"), same.stderr
        file.write_text(photos + "timeout_seconds = 100\n[pools.local]\nlimit = 3\n[pools.more]\n")
        differs = await yurt(plane, "diff", "--config", str(file))
        assert (differs.returncode, differs.stdout.splitlines()) == (
            1,
            [
                "~ pipelines.photos", "    timeout_seconds = (not set) → 100.0", "~ pools.local",
                "    limit = (not set) → 3", "+ pools.more",
            ],
        )  # fmt: skip
        answer = json.loads((await yurt(plane, "diff", "--config", str(file), "--json")).stdout)
        assert (answer["changed"], answer["dry_run"], len(answer["changes"])) == (True, True, 3)
        file.write_text(APP.format(attempts=3))
        app = await yurt(plane, "diff", "--config", str(file), "--app", "captions")
        assert (app.returncode, app.stdout.splitlines()[0]) == (1, "+ pipelines.caption")
        file.write_text(photos + 'pool = "gpu"\n')
        wrong = await yurt(plane, "diff", "--config", str(file))
        assert (wrong.returncode, "there is no pool 'gpu'" in wrong.stderr) == (2, True)
        away = await yurt(plane, "diff", "--config", str(file), "--app", "captions", "--url", "http://127.0.0.1:9")
        assert (away.returncode, "no control plane answers" in away.stderr) == (2, True)


async def test_what_does_not_hold_and_another_file_are_pointed_out(postgres_dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "captions.toml"
    file.write_text(APP.format(attempts=3))
    async with control_plane(postgres_dsn, loops=False) as plane:
        await yurt(plane, "definitions", "replace", "captions", str(file))
        changed = "update definitions set body = (body::jsonb || $1)::json where name = $2"
        await plane.sql(changed, '{"handler": "older"}', "caption")
        await plane.sql(changed, json.dumps(pipeline("other", "place")), "photos")
        await plane.sql("insert into definition_changes (owner, version, note, changed_by) values ('x', 1, '', '')")
        await plane.services.definitions.refresh()
        listed = (await yurt(plane, "definitions", "list")).stdout
        assert "deploy:captions: pipelines.caption.handler: " in listed
        assert "a replica was started later with another yurt.toml" in listed
        assert "✗ captions: pipelines.caption.handler" in (await yurt(plane, "definitions", "show", "captions")).stdout

"""The messages' JSON Schema is the published one."""

from __future__ import annotations

import json

from tests.sources import ROOT
from webhook.fleet.providers.exec_messages import ANSWERS, REQUESTS, json_schema

PUBLISHED = ROOT / "docs/exec.schema.json"


def test_the_published_schema_is_that_of_the_messages() -> None:
    expected = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert PUBLISHED.read_text(encoding="utf-8") == expected, f"write json_schema() to {PUBLISHED.name}, indented by 2"


def test_every_message_has_a_definition_with_a_description() -> None:
    definitions = json_schema()["$defs"]
    for message in (*REQUESTS, *ANSWERS):
        assert definitions[message.__name__]["description"]
    assert definitions["MintRequest"]["properties"]["verb"]["const"] == "mint"

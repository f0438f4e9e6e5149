"""The messages between worker and control plane."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from workers import protocol
from workers.protocol import Done, Download, LeaseRequest, OutputRequest, Released, Settlement, Upload, Version, Welcome

SETTLEMENT: TypeAdapter[Settlement] = TypeAdapter(Settlement)


def test_fields_that_a_newer_peer_added_are_ignored() -> None:
    assert LeaseRequest.model_validate({"max": 2, "colour": "red"}) == LeaseRequest(max=2)


def test_a_settlements_class_follows_from_its_outcome() -> None:
    released = Released(id=1, token=2)
    assert SETTLEMENT.validate_json(released.model_dump_json()) == released
    done = Done(id=1, token=2, fetched=Version(etag="e"), outputs=[])
    assert SETTLEMENT.validate_json(done.model_dump_json()) == done


@pytest.mark.parametrize(
    "settlement",
    [
        {"outcome": "gone", "id": 1, "token": 2},
        {"outcome": "released", "id": 1, "token": 2, "cause": "No space left on device"},
        {"outcome": "absent", "id": 1},
        {"outcome": "absent", "id": 0, "token": 2},
        {"outcome": "absent", "id": 1, "token": 1 << 63},
        {"outcome": "failed", "id": 1, "token": 2, "reason": "Not a code", "message": "x", "retry": True},
        {"outcome": "done", "id": 1, "token": 2, "fetched": {"etag": 'a"b'}, "outputs": []},
    ],
)
def test_a_malformed_settlement_is_refused(settlement: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SETTLEMENT.validate_python(settlement)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "-a", "a" * 201])
def test_an_output_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        OutputRequest(name=name, size=0, content_type="text/plain")


def test_secrets_are_in_no_log() -> None:
    messages = (
        Download(url="https://store/?secret"),
        Upload(name="a", url="https://store/?secret", headers={}),
        Welcome(worker=1, pool="cpu", token="secret", slots=1, idle_seconds=1, orphan_seconds=1),
    )
    assert "secret" not in repr(messages)


def test_the_manifests_name_is_an_output_name() -> None:
    assert OutputRequest(name=protocol.MANIFEST, size=0, content_type="application/json").name == "result.json"

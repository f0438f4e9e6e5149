"""Requests of apps: what is repeated, what is not, and that no secret is shown."""

from __future__ import annotations

import io

import pytest

from tests.yurt.answering import answering
from yurt import NotReachable
from yurt.control_plane import ControlPlane


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("YURT_URL", "YURT_TOKEN", "YURT_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NotReachable, match="Set YURT_URL"):
        ControlPlane()
    monkeypatch.setenv("YURT_URL", "http://127.0.0.1:1")
    with pytest.raises(NotReachable, match="call:NAME"):
        ControlPlane()


def test_an_answer_that_says_not_now_is_asked_for_again() -> None:
    with answering((503, b"{}"), (200, b'{"a": 1}')) as (url, received), ControlPlane(url, "secret") as plane:
        assert plane.post("/x", {"b": 2}) == {"a": 1}
        assert len(received) == 2


def test_a_refusal_is_told_in_its_own_words_and_not_repeated() -> None:
    with answering((404, b'{"message": "there is no function"}')) as (url, received), ControlPlane(url, "t") as plane:
        with pytest.raises(NotReachable, match="404: there is no function"):
            plane.post("/x", {})
        assert len(received) == 1


def test_an_upload_is_sent_again_from_its_beginning() -> None:
    content = b"x" * 100_000
    with answering((500, b""), (200, b"")) as (url, received), ControlPlane(url, "t") as plane:
        plane.upload(url + "/key?signature=hidden", {}, lambda: io.BytesIO(content), len(content))
        assert received == [content, content]
    with answering((403, b"<Error><Code>AccessDenied</Code></Error>")) as (url, _), ControlPlane(url, "t") as plane:
        with pytest.raises(NotReachable, match="403 AccessDenied") as refused:
            plane.upload(url + "/key?signature=hidden", {}, lambda: io.BytesIO(b""), 0)
        assert "hidden" not in str(refused.value)

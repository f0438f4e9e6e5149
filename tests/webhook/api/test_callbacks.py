"""What operators see of callbacks over HTTP, and a control plane that has one, with an app as a process beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.polling import until
from tests.webhook.callbacks.receiving_app import SECRET
from tests.webhook.callbacks.receiving_process import running_app
from tests.webhook.plane import configured, control_plane, event, pipeline
from tests.webhook.settlements import failed
from webhook.config import Pipeline
from webhook.config_faults import ConfigError

APP = {"url": "http://127.0.0.1:9/hook", "allow_private": True}


async def test_a_parked_object_is_told_listed_shown_and_told_again(postgres_dsn: str, tmp_path: Path) -> None:
    with running_app(tmp_path / "app") as app:
        await app.start()
        callback = {"url": f"http://127.0.0.1:{app.port}/hook", "allow_private": True}
        config = configured({"photos": pipeline(conditions="quoted", callback=callback)})
        async with control_plane(postgres_dsn, config, yurt_callback_secrets=SECRET) as plane:

            async def has_begun() -> bool:
                return bool((await plane.admin("GET", "/v1/callbacks")).json()["counts"])

            await until(has_begun, seconds=30)
            worker = await plane.worker()
            await plane.notify(event("a.jpg"))
            [lease] = (await worker.ask()).leases
            await worker.ask(most=0, settle=[failed(lease, retry=False, reason="unreadable", message="No photo.")])

            async def noted(times: int) -> bool:
                [count] = (await plane.admin("GET", "/v1/callbacks")).json()["counts"]
                return (count["told"], count["unaccounted"]) == (1, 0) and len(app.received()) == times

            await until(lambda: noted(1), seconds=30)
            [row] = (await plane.admin("GET", "/v1/callbacks?state=told&key=a.jpg")).json()["callbacks"]
            shown = (await plane.admin("GET", f"/v1/callbacks/{row['id']}")).json()
            assert shown == row
            assert (row["settled_as"], row["reason"], row["status"], row["due_at"]) == (
                "parked",
                "unreadable",
                200,
                None,
            )
            body = {"pipeline": "photos", "ids": [row["id"]]}
            answer = (await plane.admin("POST", "/v1/callbacks/replay", json=body)).json()
            assert answer == {"replayed": 1, "outdated": 0}
            await until(lambda: noted(2), seconds=30)

            async def measured() -> bool:
                return 'yurt_callback_seconds_count{pipeline="photos"} 2.0' in (await plane.http.get("/metrics")).text

            await until(measured, seconds=30)
        first, second = app.received()
        assert first["id"] == second["id"] == row["message"]
        assert (first["type"], first["data"]["message"]) == ("object.parked", "No photo.")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"pipeline": "photos"}, 422),
        ({"pipeline": "films", "state": "told"}, 404),
        ({"pipeline": "photos", "state": "waiting"}, 422),
        ({"pipeline": "photos", "state": "told", "dry_run": True}, 200),
    ],
)
async def test_a_replay_needs_a_pipeline_and_a_choice(postgres_dsn: str, body: dict[str, object], status: int) -> None:
    config = configured({"photos": pipeline(callback=APP)})
    async with control_plane(postgres_dsn, config, loops=False, yurt_callback_secrets=SECRET) as plane:
        answer = await plane.admin("POST", "/v1/callbacks/replay", json=body)
        assert answer.status_code == status, answer.text
        assert (await plane.admin("GET", "/v1/callbacks/7")).status_code == 404


@pytest.mark.parametrize("setting", ["", f"films:{SECRET}", "hunter2"])
async def test_a_callback_without_a_good_secret_is_refused_at_the_start(postgres_dsn: str, setting: str) -> None:
    config = configured({"photos": pipeline(callback=APP)})
    with pytest.raises(ConfigError, match="YURT_CALLBACK_SECRETS"):
        async with control_plane(postgres_dsn, config, yurt_callback_secrets=setting):
            pass


@pytest.mark.parametrize(
    "callback",
    [
        {"url": "http://app.example.com/"},
        {"url": "https://user:password@app.example.com/"},
        {"url": "ftp://app.example.com/"},
        {"url": "https:///hook"},
        {"url": "https://[::1/"},
        {"url": "https://app.example.com/#x"},
        {},
    ],
)
def test_a_url_that_cannot_be_told_is_refused(callback: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="url"):
        Pipeline.model_validate(pipeline(callback=callback))

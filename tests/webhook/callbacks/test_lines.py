from __future__ import annotations

from pydantic import SecretStr

from tests.webhook.callbacks.receiving_app import SECRET
from tests.webhook.plane import pipeline
from webhook.callbacks.lines import unsigned_callbacks
from webhook.config import Pipeline


def test_each_callback_needs_a_secret_of_its_own_or_one_for_all() -> None:
    told = Pipeline.model_validate(pipeline(callback={"url": "https://app.example.com/"}))
    pipelines = {"photos": told, "films": told, "silent": Pipeline.model_validate(pipeline())}
    assert not [*unsigned_callbacks(pipelines, SecretStr(SECRET))]
    [fault] = unsigned_callbacks(pipelines, SecretStr(f"photos:{SECRET}"))
    assert fault.startswith("pipelines.films.callback: there is no secret")

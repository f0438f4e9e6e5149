"""Sets of several owners, checked together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.webhook.plane import configured, pipeline
from webhook.config import DefinitionSet
from webhook.definitions.assembly import Assembly, InvalidDefinitions, parsed, sets_of, tables_of
from webhook.ledger.definitions import FILE, Sets, StoredDefinition
from workers.handlers.registry import options_model

ASSEMBLY = Assembly(configured(), options_model)
POOL = parsed({"pools": {"gpu": {"provider": "none"}}})
HOLDS = sets_of(configured())


def on(pool: str, name: str = "caption", **more: Any) -> Sets:
    """One pipeline on a pool."""
    return parsed({"pipelines": {name: pipeline(f"{name}-in", f"{name}-out", pool=pool, **more)}})


def stored(**owners: Sets) -> list[StoredDefinition]:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        StoredDefinition(number, kind, name, owner, body, 1, "test", moment)
        for owner, one in owners.items()
        for number, ((kind, name), body) in enumerate(one.items())
    ]


def test_a_set_is_kept_as_it_was_written_without_defaults() -> None:
    written = {
        "pipelines": {
            "photos": {"input": "s3://inbox/x/", "output": "s3://outbox/", "limits": {"memory_bytes": 1 << 30}}
        },
        "pools": {"local": {}, "rented": {"budget_usd_per_day": "0.5", "providers": ["local"]}},
        "models": {"safety": {"source": "s3://models/safety"}},
    }
    sets = parsed(written)
    assert tables_of(sets) == written
    assert parsed(tables_of(sets)) == sets
    assert DefinitionSet.model_validate(tables_of(sets)).pools["rented"].provider_names == ("local",)


def test_what_contradicts_an_earlier_set_is_left_out_and_the_rest_holds() -> None:
    assembled = ASSEMBLY.assembled({FILE: HOLDS, "deploy:a": on("gpu", "a"), "deploy:b": on("local", "b")})
    assert set(assembled.definitions.pipelines) == {"photos", "b"}
    [fault] = assembled.left_out["deploy:a"]
    assert (fault.field, fault.reason) == ("pipelines.a.pool", "there is no pool 'gpu' (there are: local)")


def test_a_set_that_another_one_needs_may_not_go() -> None:
    others = stored(**{FILE: HOLDS, "deploy:a": on("gpu")})
    with pytest.raises(InvalidDefinitions, match=r"pipelines.caption.pool: there is no pool 'gpu'.*deploy:a needs it"):
        ASSEMBLY.check("deploy:gpu", others, POOL, {})
    assembled = ASSEMBLY.assembled({FILE: HOLDS, "deploy:a": on("gpu"), "deploy:b": on("no"), "deploy:gpu": POOL})
    assert list(assembled.left_out) == ["deploy:b"]
    ASSEMBLY.check("deploy:gpu", others, {}, POOL)


def test_a_set_that_does_not_hold_already_is_no_reason_to_refuse_another_one() -> None:
    others = stored(**{FILE: HOLDS, "deploy:a": on("gpu")})
    ASSEMBLY.check("deploy:b", others, {}, on("local", "b"))
    ASSEMBLY.check("deploy:b", others, on("local", "b"), {})
    with pytest.raises(InvalidDefinitions, match=r"pipelines.c.pool"):
        ASSEMBLY.check("deploy:c", others, {}, on("gpu", "c"))


def test_the_file_starts_beside_what_does_not_hold_but_puts_nothing_out() -> None:
    apps = stored(**{"deploy:a": on("gpu", "a"), "deploy:b": on("spare", "b")})
    spare = {**HOLDS, **parsed({"pools": {"spare": {"provider": "none"}}})}
    ASSEMBLY.check(FILE, apps, spare, spare)
    with pytest.raises(InvalidDefinitions, match=r"pipelines.b.pool: there is no pool 'spare'"):
        ASSEMBLY.check(FILE, apps, spare, HOLDS)


def test_machines_that_could_not_call_home_are_refused() -> None:
    vast = {"kind": "vast", "image": "docker.io/me/worker:1"}
    config = configured(providers={"market": vast}, server={"public_url": ""})
    rented = parsed({"pools": {"rented": {"provider": "market"}}})
    with pytest.raises(InvalidDefinitions, match=r"machines of pool rented .* could not call home"):
        Assembly(config, options_model).check("deploy:a", stored(**{FILE: sets_of(config)}), {}, rented)


def test_answers_of_services_are_apart_from_what_is_deployed() -> None:
    assembly = Assembly(configured(server={"answers": "s3://caption-in/answers/"}), options_model)
    with pytest.raises(InvalidDefinitions, match=r"pipelines.caption.input .* overlaps server.answers"):
        assembly.check("deploy:a", stored(**{FILE: HOLDS}), {}, on("local"))
    assembly.check("deploy:a", stored(**{FILE: HOLDS}), {}, on("local", "other"))

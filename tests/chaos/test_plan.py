"""Plans are a function of their seed and hold every kind of write and fault."""

from __future__ import annotations

from collections import Counter

from tests.chaos.plan import FAULT_WEIGHTS, REGIONS, faults, lagging, steps

SEED = 7


def test_the_same_seed_is_the_same_plan() -> None:
    assert steps(SEED, 200, 30, 1) == steps(SEED, 200, 30, 1) != steps(SEED + 1, 200, 30, 1)
    assert faults(SEED, 40, 30) == faults(SEED, 40, 30) != faults(SEED + 1, 40, 30)


def test_as_many_uploads_as_asked_for_and_every_kind_of_write() -> None:
    planned = steps(SEED, 500, 30, 1)
    kinds = Counter(step.kind for step in planned)
    assert sum(step.content is not None for step in planned) == 500
    assert set(kinds) == {"new", "overwrite", "same", "back", "delete", "again"}
    assert kinds["overwrite"] > 200
    assert {step.region for step in planned} == {"", *REGIONS}
    moments = [step.at for step in planned]
    assert moments == sorted(moments)
    assert moments[-1] < 31


def test_writes_mean_what_they_say() -> None:
    last: dict[str, str | None] = {}
    seen: dict[str, set[str]] = {}
    for step in steps(SEED, 500, 30, 1):
        etag = step.content.etag if step.content else None
        match step.kind:
            case "new":
                assert step.key not in last
            case "same":
                assert etag == last[step.key]
            case "back":
                assert etag != last[step.key]
                assert etag in seen[step.key]
            case "overwrite":
                assert etag not in seen[step.key]
            case "again":
                assert last[step.key] is None
            case "delete":
                assert last[step.key] is not None
        last[step.key] = etag
        seen.setdefault(step.key, set()).update({etag} if etag else set())


def test_every_kind_of_fault_is_planned_once_at_least() -> None:
    planned = faults(SEED, 40, 30)
    assert len(planned) == 40
    assert {fault.kind for fault in planned} == set(FAULT_WEIGHTS)
    assert len(faults(SEED, 1, 30)) == len(FAULT_WEIGHTS)
    assert len(lagging(planned)) == Counter(fault.kind for fault in planned)["store-stale"]

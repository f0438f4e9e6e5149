"""What the checks after a run notice."""

from __future__ import annotations

import pytest

from tests.chaos.checks import of_told

SETTLES = {1: "a", 2: "b", 3: "a"}
IDS = {1: "msg_1", 2: "msg_2", 3: "msg_3"}


@pytest.mark.parametrize(
    ("told", "came", "kinds"),
    [
        (IDS, [(1, "msg_1"), (2, "msg_2"), (3, "msg_3")], []),
        (IDS, [(2, "msg_2"), (1, "msg_1"), (1, "msg_1"), (3, "msg_3"), (3, "msg_3")], []),
        (IDS, [(1, "msg_1"), (2, "msg_2")], ["untold"]),
        ({1: "msg_1", 3: "msg_3"}, [(1, "msg_1"), (3, "msg_3")], ["untold"]),
        (IDS, [(1, "msg_1"), (2, "msg_2"), (3, "msg_3"), (1, "msg_1")], ["disordered"]),
        (IDS, [(1, "msg_0"), (1, "msg_1"), (2, "msg_2"), (3, "msg_3")], ["disordered"]),
    ],
)
def test_what_an_app_was_not_told_or_told_out_of_order_is_noticed(
    told: dict[int, str], came: list[tuple[int, str]], kinds: list[str]
) -> None:
    received = [{"id": id, "data": {"key": SETTLES[sequence], "sequence": sequence}} for sequence, id in came]
    assert [violation.kind for violation in of_told(SETTLES, told, received)] == kinds

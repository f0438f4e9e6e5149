"""The number of connections, by what more of them brought."""

from __future__ import annotations

from workers.models.connection_growth import FEWEST, MOST, ConnectionGrowth


def test_connections_are_added_while_the_throughput_grows() -> None:
    growth = ConnectionGrowth()
    assert growth.count == FEWEST
    assert [growth.measured(rate) for rate in (100, 200, 300, 400, 500, 500, 500)] == [8, 12, 16, *[MOST] * 4]


def test_those_that_bring_nothing_are_given_up() -> None:
    growth = ConnectionGrowth()
    assert [growth.measured(rate) for rate in (100, 200, 210, 190, 205)] == [8, 12, 12, 8, 8]
    assert growth.measured(300) == 12


def test_more_are_tried_again_after_a_while() -> None:
    growth = ConnectionGrowth()
    counts = [growth.measured(100) for _ in range(30)]
    assert counts[:3] == [8, 8, 4]
    assert counts[3:].count(8) == 2
    assert counts[-1] == 4


def test_there_are_never_more_than_wanted() -> None:
    growth = ConnectionGrowth(fewest=8, most=2)
    assert growth.count == 2
    assert growth.measured(100) == 2

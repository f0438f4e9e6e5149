"""The number of connections, by what more of them brought."""

from __future__ import annotations

from workers.models.connection_growth import FEWEST, MOST, ConnectionGrowth


def test_connections_are_added_while_the_throughput_grows() -> None:
    growth = ConnectionGrowth()
    assert growth.count == FEWEST
    assert [growth.measured(rate) for rate in (100, 200, 300, 400, 500)] == [8, 12, 16, MOST, MOST]


def test_no_more_where_they_bring_nothing() -> None:
    growth = ConnectionGrowth()
    assert [growth.measured(rate) for rate in (100, 105, 90, 109)] == [8, 8, 8, 8]
    assert growth.measured(120) == 12

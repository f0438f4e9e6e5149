"""Services on the page: cold, with requests that wait, with machines that serve or fail."""

from __future__ import annotations

import pytest

from tests.webhook.page.visits import visiting
from tests.webhook.plane import control_plane
from tests.webhook.proxy.serving import with_services
from webhook.api.service_status import ServiceMachineStatus, ServiceStatus
from webhook.page.views import service_standing


async def test_services_with_their_machines(postgres_dsn: str) -> None:
    config = with_services(echo={"concurrency": 3}, other={})
    async with control_plane(postgres_dsn, config, loops=False) as plane, visiting(plane) as visitor:
        text = await visitor.page("/services")
        assert text.count('<span class="state cold">cold</span>') == 2
        assert "yurt services" in text
        worker = await plane.worker()
        await plane.sql(
            "insert into service_machines (worker_id, service, idle_seconds, used_at, state, message, log)"
            " values ($1, 'echo', 0, yurt_now(), 'failing', 'it ended with 1', 'no <module>')",
            worker.id,
        )
        text = await visitor.page("/services")
        assert '<span class="state failing">failing</span>' in text
        assert "it ended with 1" in text
        assert "no &lt;module&gt;" in text
        assert f'href="/machines/{worker.id}"' in text


@pytest.mark.parametrize(
    ("states", "fields", "standing"),
    [
        ((), {}, "cold"),
        ((), {"waiting": 1}, "starting"),
        ((), {"waiting": 1, "not_minted": "the budget is spent"}, "stuck"),
        ((), {"not_minted": "the budget is spent"}, "cold"),
        (("draining",), {}, "cold"),
        (("loading",), {"waiting": 1, "not_minted": "at its limit"}, "starting"),
        (("failing",), {}, "failing"),
        (("failing", "ready"), {}, "ready"),
        ((), {"withheld": "the model is missing"}, "withheld"),
    ],
)
def test_how_a_service_stands(states: tuple[str, ...], fields: dict[str, str | int], standing: str) -> None:
    machines = [
        ServiceMachineStatus(worker=1, label="a", state=state, in_flight=0, idle_seconds=0, message="", log="")
        for state in states
    ]
    empty = {"name": "a", "pool": "p", "waiting": 0, "in_flight": 0, "concurrency": 1, "withheld": "", "not_minted": ""}
    assert service_standing(ServiceStatus.model_validate({**empty, **fields, "machines": machines})) == standing

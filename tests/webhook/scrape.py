"""What Prometheus reads of a control plane."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.webhook.plane import RunningPlane


class Scrape:
    """One response of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def __getitem__(self, name: str) -> Mapping[tuple[str, ...], float]:
        """Samples of that name by the values of their labels, which stand in the order of their names."""
        samples = [sample for sample in self._samples if sample.name == name]
        values = {tuple(sample.labels.values()): sample.value for sample in samples}
        assert len(values) == len(samples), f"{name} has the same labels twice"
        return values


async def scraped(plane: RunningPlane) -> Scrape:
    response = await plane.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    return Scrape(response.text)

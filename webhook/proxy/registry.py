"""Machines of services that this replica reaches by itself: through a tunnel that ends here, or at a direct address."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from webhook.proxy.exchange import ServiceMachine


class MachineRegistry:
    """Ways to machines, by the number of their worker. A machine serves one service at a time."""

    def __init__(self) -> None:
        self._ways: dict[int, tuple[str, ServiceMachine]] = {}
        self._listeners: list[Callable[[str, int], None]] = []

    def listen(self, changed: Callable[[str, int], None]) -> None:
        """Have ``changed`` called with service and worker whenever a way appears or vanishes. It must not block."""
        self._listeners.append(changed)

    def appeared(self, service: str, worker_id: int, machine: ServiceMachine) -> None:
        """Note a way to a machine whose server is ready; it replaces an earlier one of the same worker."""
        self._ways[worker_id] = service, machine
        self._notify(service, worker_id)

    def vanished(self, service: str, worker_id: int) -> None:
        """Note that there is no way to a machine any more."""
        known = self._ways.get(worker_id)
        if known is not None and known[0] == service:
            del self._ways[worker_id]
            self._notify(service, worker_id)

    def way(self, service: str, worker_id: int) -> ServiceMachine | None:
        """The way to a machine that serves this service; None: there is none from here."""
        known = self._ways.get(worker_id)
        return known[1] if known is not None and known[0] == service else None

    def workers(self, service: str) -> Mapping[int, ServiceMachine]:
        """Every machine of a service that is reached from here, by the number of its worker."""
        return {worker: machine for worker, (name, machine) in self._ways.items() if name == service}

    def all(self) -> Mapping[int, str]:
        """The service of every machine that is reached from here, by the number of its worker."""
        return {worker: name for worker, (name, _) in self._ways.items()}

    def _notify(self, service: str, worker_id: int) -> None:
        for changed in self._listeners:
            changed(service, worker_id)

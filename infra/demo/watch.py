"""Reads the status of the control plane and the counts of the bucket, together, as one snapshot."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from infra.interrupts import Interrupts
from infra.stack import Stack

_TIMEOUT_SECONDS = 10.0
_SILENT_SECONDS = 30.0
_PAUSE_SECONDS = 0.1


class WatchError(Exception):
    """A service runs but did not answer for 30 seconds."""


class HubCounts(BaseModel):
    """Counts of the bucket's notification hub."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    events: int
    duplicates: int
    reordered: int
    held: int
    dropped: int
    discarded: int
    posted: int
    given_up: int
    pending: int


@dataclass(frozen=True, slots=True)
class ParkedPhoto:
    """A parked object and its reason."""

    key: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DemoSnapshot:
    """Status of the control plane and counts of the bucket at one time.

    The bucket's counts are read first, so that the ledger's numbers hold every event that the bucket had posted.
    """

    hub: HubCounts
    status: dict[str, Any]
    """Of ``GET /v1/status``."""
    pipeline: str
    pool: str

    @property
    def received(self) -> int:
        """Events that reached the control plane."""
        return self.event("received")

    def event(self, verdict: str) -> int:
        """Events with a verdict, those included that no pipeline watches or that could not be read."""
        return int(self._pipeline["events"].get(verdict, 0) + self.status["unrouted"].get(verdict, 0))

    def change(self, outcome: str) -> int:
        """Accepted changes with an outcome."""
        return int(self._pipeline["changes"].get(outcome, 0))

    def objects(self, *states: str) -> int:
        """Objects in any of these states; in any state at all where none is named."""
        objects: dict[str, int] = self._pipeline["objects"]
        return sum(number for state, number in objects.items() if not states or state in states)

    @property
    def parked(self) -> list[ParkedPhoto]:
        """Parked objects."""
        return [ParkedPhoto(row["key"], row["reason"], row["message"]) for row in self.status["parked"]]

    @property
    def minted(self) -> int:
        """Workers minted so far."""
        return int(self.status["pools"][self.pool]["minted"])

    @property
    def slain(self) -> int:
        """Workers slain so far."""
        return int(self.status["pools"][self.pool]["slain"])

    def workers(self, *states: str) -> int:
        """Workers that are not gone, in any of these states; in any state at all where none is named."""
        machines: dict[str, int] = self.status["pools"][self.pool]["machines"]
        return sum(number for state, number in machines.items() if not states or state in states)

    @property
    def unaccounted(self) -> int:
        """Events and changes that the ledger counts nowhere: a bug where it is not 0."""
        return sum(abs(number) for number in self.status["unaccounted"].values())

    @property
    def _pipeline(self) -> dict[str, Any]:
        pipeline: dict[str, Any] = self.status["pipelines"][self.pipeline]
        return pipeline


class Watcher:
    """Takes snapshots of a running stack. To be closed."""

    def __init__(self, stack: Stack, pipeline: str, pool: str, interrupts: Interrupts) -> None:
        self._stack = stack
        self._pipeline = pipeline
        self._pool = pool
        self._interrupts = interrupts
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def snapshot(self) -> DemoSnapshot:
        """Take a snapshot, after a short pause. Raises Interrupted, StackError, WatchError."""
        deadline = time.monotonic() + _SILENT_SECONDS
        while True:
            self._interrupts.wait(_PAUSE_SECONDS)
            self._stack.check()
            try:
                return self._read()
            except (httpx.HTTPError, ValidationError, ValueError) as error:
                if time.monotonic() > deadline:
                    raise WatchError(f"no answer for {_SILENT_SECONDS:g} s: {error}") from error

    def _read(self) -> DemoSnapshot:
        hub = HubCounts.model_validate(self._get(f"{self._stack.endpoint}/_yurt/stats"))
        token = {"authorization": f"Bearer {self._stack.keys.admin}"}
        return DemoSnapshot(hub, self._get(f"{self._stack.url}/v1/status", token), self._pipeline, self._pool)

    def _get(self, url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        response = self._client.get(url, headers=headers)
        response.raise_for_status()
        body: dict[str, Any] = response.json()
        return body

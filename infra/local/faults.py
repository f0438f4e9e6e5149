"""Injects faults that real stores have: errors, delays, stale reads, short listings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from infra.local.exchange import EMPTY_LISTING, BucketResponse, Call, error

MAX_FAULTS = 100

_CODES = {
    403: "AccessDenied",
    404: "NoSuchKey",
    408: "RequestCanceled",
    412: "PreconditionFailed",
    429: "TooManyRequests",
    500: "InternalError",
    503: "SlowDown",
}


class InjectedFault(BaseModel):
    """A fault of the next requests that match."""

    model_config = ConfigDict(extra="forbid")

    method: Annotated[str, Field(pattern=r"^[A-Z]{3,7}$")] | None = None
    """None: every method."""
    bucket: str | None = None
    key_prefix: str = ""
    listing: bool = False
    """Only listings of a bucket."""
    after: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Matching requests that succeed first."""
    times: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Matching requests that have the fault; then it is over."""
    delay_seconds: Annotated[float, Field(ge=0, le=600)] = 0.0
    """Delay of the response."""
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    """Status of the response. None: the real response, after the delay."""
    effect: Literal["none", "done", "stale", "empty", "unsigned-headers"] = "none"
    """What the request does in spite of the fault. ``none``: with a status, nothing. ``done``: the request is carried
    out, and only its response is lost. ``stale``: a read returns the content before the first overwrite since the fault
    was set. ``empty``: a listing ends here, as if there were no more objects. ``unsigned-headers``: a request with
    ``x-amz-*`` headers that are not signed is carried out, as by Ceph and MinIO."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.effect == "done" and self.status is None:
            raise ValueError("effect done: needs the status that the lost answer is replaced with")
        if self.effect == "stale" and (self.status is not None or self.method not in ("GET", "HEAD")):
            raise ValueError("effect stale: is for method GET or HEAD, without a status")
        if self.effect == "unsigned-headers" and self.status is not None:
            raise ValueError("effect unsigned-headers: is without a status")
        if self.effect == "empty" and (self.status is not None or not self.listing):
            raise ValueError("effect empty: is for listing, without a status")
        return self

    def matches(self, call: Call) -> bool:
        """Whether bucket, key and kind of the request match; the method is not compared."""
        return (
            self.bucket in (None, call.bucket)
            and call.key.startswith(self.key_prefix)
            and (call.is_listing or not self.listing)
        )

    def answer(self) -> BucketResponse | None:
        """The response in place of the real one; None: the real one."""
        if self.effect == "empty":
            return EMPTY_LISTING
        if self.status is None:
            return None
        return error(self.status, _CODES.get(self.status, "InternalError"), "An injected fault.")


class Faults:
    """The faults that are set. A request has the oldest one that matches."""

    def __init__(self) -> None:
        self._set: list[InjectedFault] = []

    def add(self, fault: InjectedFault) -> None:
        """Set a fault. Raises ValueError when too many are set."""
        if len(self._set) >= MAX_FAULTS:
            raise ValueError(f"{MAX_FAULTS} faults are set already; DELETE /_yurt/faults clears them")
        self._set.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        self._set.clear()

    def listed(self) -> list[dict[str, object]]:
        """The faults that are set, with the number of times that each is left."""
        return [fault.model_dump() for fault in self._set]

    def take(self, call: Call) -> InjectedFault | None:
        """The fault of this request, or None. Counts it as used once."""
        for fault in self._set:
            if fault.method in (None, call.method) and fault.matches(call):
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                if not fault.times:
                    self._set.remove(fault)
                return fault
        return None

    def keeps_previous(self, call: Call) -> bool:
        """Whether a stale read may later need the content that this request overwrites."""
        return any(fault.effect == "stale" and fault.matches(call) for fault in self._set)

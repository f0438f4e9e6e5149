"""Faults of the store, on demand: what real stores answer now and then."""

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
    """What happens to the next requests of a kind."""

    model_config = ConfigDict(extra="forbid")

    method: Annotated[str, Field(pattern=r"^[A-Z]{3,7}$")] | None = None
    """None: every method."""
    bucket: str | None = None
    key_prefix: str = ""
    listing: bool = False
    """Only listings of a bucket."""
    after: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Requests of its kind that go well before it happens."""
    times: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Requests it happens to; then the store is well again."""
    delay_seconds: Annotated[float, Field(ge=0, le=600)] = 0.0
    """The answer takes so long: a store that hangs."""
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    """The answer. None: the real one, late."""
    effect: Literal["none", "done", "stale", "empty"] = "none"
    """What the request does all the same. ``none``: with a status, nothing. ``done``: it is carried out, and
    only its answer is lost. ``stale``: a read sees what was before the first overwrite since.
    ``empty``: a listing ends here, as if nothing more were there."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.effect == "done" and self.status is None:
            raise ValueError("effect done: needs the status that the lost answer is replaced with")
        if self.effect == "stale" and (self.status is not None or self.method not in ("GET", "HEAD")):
            raise ValueError("effect stale: is for method GET or HEAD, without a status")
        if self.effect == "empty" and (self.status is not None or not self.listing):
            raise ValueError("effect empty: is for listing, without a status")
        return self

    def touches(self, call: Call) -> bool:
        """Whether this is a request of its kind, but for the method."""
        return (
            self.bucket in (None, call.bucket)
            and call.key.startswith(self.key_prefix)
            and (call.is_listing or not self.listing)
        )

    def answer(self) -> BucketResponse | None:
        """What is answered instead of the truth."""
        if self.effect == "empty":
            return EMPTY_LISTING
        if self.status is None:
            return None
        return error(self.status, _CODES.get(self.status, "InternalError"), "A fault that was asked for.")


class Faults:
    """The faults that are set. The oldest that fits a request happens to it."""

    def __init__(self) -> None:
        self._set: list[InjectedFault] = []

    def add(self, fault: InjectedFault) -> None:
        """Set one more. Raises ValueError when too many are set."""
        if len(self._set) >= MAX_FAULTS:
            raise ValueError(f"{MAX_FAULTS} faults are set already; DELETE /_yurt/faults clears them")
        self._set.append(fault)

    def clear(self) -> None:
        """The store is well again."""
        self._set.clear()

    def listed(self) -> list[dict[str, object]]:
        """The faults that are set, with how often each is still to happen."""
        return [fault.model_dump() for fault in self._set]

    def happening(self, call: Call) -> InjectedFault | None:
        """The fault that happens to this request, which uses it up once."""
        for fault in self._set:
            if fault.method in (None, call.method) and fault.touches(call):
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                if not fault.times:
                    self._set.remove(fault)
                return fault
        return None

    def will_be_stale(self, call: Call) -> bool:
        """Whether what this request overwrites will be asked for."""
        return any(fault.effect == "stale" and fault.touches(call) for fault in self._set)

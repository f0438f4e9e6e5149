"""Takes calls of functions from apps, and answers how they have ended. Behind tokens with the scope ``call:NAME``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.app_auth import AppAuth
from webhook.api.http import HttpProblem, json_response, read_model
from webhook.calls.calls import CalledFunction, CallProgress, Calls
from webhook.storage import StoreError
from workers.protocol import Download

MAX_CALLS = 100
"""That one request may name."""
MAX_WAIT_SECONDS = 30.0
_BODY_BYTES = 64 << 10
_ID = r"^[0-9a-f]{32}$"

CallId = Annotated[str, Field(pattern=_ID)]
"""Chosen by the caller, of 128 random bits or of a digest: a call with the same one is not run again."""


class NewCall(BaseModel):
    """Announces the arguments of one call."""

    model_config = ConfigDict(extra="forbid")

    id: CallId
    bytes: Annotated[int, Field(ge=1, lt=2**63)]


class CallsRequest(BaseModel):
    """Announces calls of one function."""

    model_config = ConfigDict(extra="forbid")

    calls: Annotated[list[NewCall], Field(min_length=1, max_length=MAX_CALLS)]


class CallOffer(BaseModel):
    """How the arguments of one call get into the bucket."""

    id: str
    upload: Download | None
    """A presigned PUT. Null: the call runs already, or has ended."""


class CallsOffer(BaseModel):
    """One offer for each call, in their order."""

    calls: list[CallOffer]


class CallIds(BaseModel):
    """Names calls."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[CallId], Field(min_length=1, max_length=MAX_CALLS)]


class BegunCalls(BaseModel):
    """Number of calls that were begun."""

    begun: int


class CallsWait(CallIds):
    """Waits until one of these calls has ended."""

    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0


class CallError(BaseModel):
    """Why a call has failed."""

    reason: str
    message: str
    log: str
    """The end of what it printed, with its traceback."""


class CallStatus(BaseModel):
    """How far one call is."""

    id: str
    state: Literal["unknown", "running", "done", "failed"]
    value: Download | None = None
    """A presigned GET of what it returned, as JSON."""
    error: CallError | None = None


class CallsStatus(BaseModel):
    """One status for each call, in their order."""

    calls: list[CallStatus]


class CallApi:
    """Endpoints for calls of functions."""

    def __init__(self, calls: Calls, auth: AppAuth) -> None:
        self._calls = calls
        self._auth = auth

    async def offer_calls(self, request: Request) -> Response:
        """Presign uploads of calls' arguments, of those that have not been made yet; make failed ones once more."""
        function = await self._function(request)
        wanted = (await read_model(request, CallsRequest, _BODY_BYTES)).calls
        for call in wanted:
            if call.bytes > function.pipeline.limits.input_bytes:
                raise HttpProblem(
                    413, "too-large",
                    f"the arguments have {call.bytes} bytes: the function takes {function.pipeline.limits.input_bytes}",
                )  # fmt: skip
        made = await self._calls.progress(function, [call.id for call in wanted])
        try:
            again = await self._calls.again(function, [call.id for call in made if call.state == "failed"])
        except StoreError as error:
            raise HttpProblem(503, "store-unavailable", str(error)) from None
        offers = [
            CallOffer(
                id=call.id,
                upload=None if known.is_made or call.id in again else self._calls.upload(function, call.id, call.bytes),
            )
            for call, known in zip(wanted, made, strict=True)
        ]
        return json_response(CallsOffer(calls=offers))

    async def begin_calls(self, request: Request) -> Response:
        """Have calls run whose arguments were uploaded."""
        function = await self._function(request)
        ids = (await read_model(request, CallIds, _BODY_BYTES)).ids
        try:
            missing = await self._calls.begin(function, ids)
        except StoreError as error:
            raise HttpProblem(503, "store-unavailable", str(error)) from None
        if missing:
            raise HttpProblem(
                409, "no-arguments", f"the arguments of {len(missing)} calls are not in the bucket: upload them first"
            )
        return json_response(BegunCalls(begun=len(ids)))

    async def wait_for_calls(self, request: Request) -> Response:
        """Wait until one of some calls has ended, and answer how far all of them are."""
        function = await self._function(request)
        wanted = await read_model(request, CallsWait, _BODY_BYTES)
        progress = await self._calls.wait(function, wanted.ids, wanted.wait)
        return json_response(CallsStatus(calls=[self._status(function, call) for call in progress]))

    def _status(self, function: CalledFunction, call: CallProgress) -> CallStatus:
        return CallStatus(
            id=call.id,
            state=call.state,
            value=self._calls.value(function, call.id) if call.state == "done" else None,
            error=CallError(reason=call.reason, message=call.message, log=call.log) if call.state == "failed" else None,
        )

    async def _function(self, request: Request) -> CalledFunction:
        name = request.path_params["name"]
        await self._auth.require(request, f"call:{name}")
        function = self._calls.function(name)
        if function is None:
            raise HttpProblem(404, "unknown-function", "there is no function of that name: deploy it with yurt deploy")
        return function

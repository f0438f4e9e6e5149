"""Receives notifications: authenticates, parses, records, answers (``POST /v1/notifications/{source}``).

A 2xx is sent only after the commit: from then on nothing of the request can be lost. One that the ledger cannot record
now is answered 503, and the sender tries again. What cannot be read goes to quarantine, whatever it is, and is answered
2xx too: a sender that does not give up would send it again for ever, and nothing that comes after it. Only a request
without a valid credential, or with a longer body than is taken, is answered 4xx.

A sender shows one of the secrets in its Authorization header, or in the query where its store cannot send headers; or
signs the body with it; or its messages are signed by Amazon SNS.

**The deadline.** A store takes a notification for lost after ten seconds (Tigris: "Object notifications"). So each
request has one deadline, `ANSWER_SECONDS` after its first byte, for everything: its body, the calls to SNS, waiting for
a batch, the commit. Each step gets the time that the steps before it left. Past the deadline the answer is 503. The
events are written nevertheless as soon as the ledger answers, since a store gives up after a few tries; where the store
sends them again they are counted as duplicates.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import structlog
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import Credentials, unauthorized
from webhook.api.connections import BEGAN_AT, proven, sender
from webhook.api.content_coding import DecodedTooLong, UnreadableCoding, decoded_body
from webhook.api.http import HttpProblem, json_response, read_body, too_long
from webhook.batching import Batcher
from webhook.events import Quarantined
from webhook.ledger.coalescing import Verdict
from webhook.ledger.ledger import Ledger, ReceivedEvents
from webhook.metrics import Metrics
from webhook.pipelines import Pipelines
from webhook.senders import UNKNOWN, Senders
from webhook.sources import Batch, Source
from webhook.sources.sns import MAX_MESSAGE_BYTES, BadSignature, NoSnsMessage, Sns, UntrustedTopic
from webhook.sources.sns_calls import SnsUnavailable

log = structlog.get_logger()

ANSWER_SECONDS = 9.0
"""From a notification's first byte to the answer. Below the ten seconds after which a store takes it for lost."""
_LAST_SECONDS = 0.1
"""A body that is not complete so shortly before the deadline is the sender's fault (408), not the ledger's (503)."""
_MAX_SIGNED_BYTES = 1 << 20
"""Longest body that is read before its signature is known to be right. B2 sends at most 50 events at once."""
_LARGEST_FLUSH_ROWS = 2_000
_LINGER_SECONDS = 0.004
_LOGGED_SECONDS = 60.0
"""What one source sends unreadable is logged at most so often: a sender may repeat it without end."""


class Receipt(BaseModel):
    """Counts a request's events by verdict. An event that two pipelines watch counts in both."""

    accepted: int = 0
    coalesced: int = 0
    duplicate: int = 0
    stale: int = 0
    ignored: int = 0
    quarantined: int = 0


class NotificationApi:
    """Endpoint for the notifications of all sources."""

    def __init__(
        self,
        ledger: Ledger,
        pipelines: Pipelines,
        sources: Mapping[str, Source],
        secrets: Credentials | None,
        metrics: Metrics,
        senders: Senders,
        *,
        body_limit_bytes: int,
        backlog_events: int,
        signed: Mapping[str, Sns] | None = None,
    ) -> None:
        self._signed = signed or {}
        self._pipelines = pipelines
        self._sources = sources
        self._secrets = secrets
        self._metrics = metrics
        self._senders = senders
        self._body_limit_bytes = body_limit_bytes
        self._logged_at: dict[str, float] = {}
        self._batcher: Batcher[ReceivedEvents, Counter[Verdict]] = Batcher(
            ledger.record,
            largest=_LARGEST_FLUSH_ROWS,
            backlog=backlog_events,
            weigh=lambda intake: intake.weight,
            linger_seconds=_LINGER_SECONDS,
        )

    async def notify(self, request: Request) -> Response:
        """Record the events of one notification."""
        try:
            source = self._source(request)
            receipt = await self._in_time(request, source)
        except HttpProblem as problem:
            if problem.status < 500:
                name = request.path_params["source"]
                self._senders.refused(name if name in self._sources else UNKNOWN, problem.error, problem.message)
            raise
        self._senders.taken(source.name)
        return json_response(receipt)

    async def _in_time(self, request: Request, source: Source) -> Receipt:
        began_at = request.scope.get(BEGAN_AT, asyncio.get_running_loop().time())
        deadline = began_at + ANSWER_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                return await self._record(request, source, deadline)
        except TimeoutError:
            late = f"the events were not written within {ANSWER_SECONDS:g} s of the request. Send them again"
            raise HttpProblem(503, "deadline", late) from None

    async def _record(self, request: Request, source: Source, deadline: float) -> Receipt:
        body = await self._body(request, source, deadline)
        if body is None:
            return Receipt()
        with self._metrics.notification_seconds.labels(source.name).time():
            batch = self._parsed(source, body, request.headers.get("content-encoding", ""))
            verdicts: Counter[Verdict] = Counter()
            for piece in batch.pieces():
                verdicts += await self._batcher.submit(self._pipelines.route(piece))
        return Receipt(**{verdict.value: number for verdict, number in verdicts.items()})

    def _parsed(self, source: Source, body: bytes, coding: str) -> Batch:
        """Parse a body. Raises HttpProblem 413 where it decodes to too much."""
        try:
            batch = source.parse(decoded_body(body, coding, self._body_limit_bytes))
        except UnreadableCoding as error:
            batch = Batch(quarantined=[Quarantined(source.name, str(error), body)])
        except DecodedTooLong:
            raise too_long(self._body_limit_bytes) from None
        if batch.quarantined:
            self._report(source.name, batch.quarantined)
        return batch

    def _report(self, source: str, quarantined: Sequence[Quarantined]) -> None:
        """Count what could not be read, and log the first of a while."""
        self._metrics.unreadable.labels(source).inc(len(quarantined))
        now = time.monotonic()
        if now - self._logged_at.get(source, -_LOGGED_SECONDS) >= _LOGGED_SECONDS:
            self._logged_at[source] = now
            reason = quarantined[0].reason[:300]
            log.warning(
                "events not readable", source=source, events=len(quarantined), reason=reason,
                hint="`yurt quarantine list` shows them. The next line of this kind comes in a minute at the soonest",
            )  # fmt: skip

    async def probe(self, request: Request) -> Response:
        """Answer a store that checks the URL before it sends anything."""
        self._source(request)
        return Response(status_code=200)

    @property
    def waiting(self) -> int:
        """Requests whose events wait to be written."""
        return self._batcher.waiting

    async def aclose(self) -> None:
        """Write the events of all requests that were received, and close."""
        await self._batcher.aclose()
        for sns in self._signed.values():
            await sns.aclose()

    def _source(self, request: Request) -> Source:
        name = request.path_params["source"]
        try:
            return self._sources[name]
        except KeyError:
            known = ", ".join(sorted(self._sources))
            raise HttpProblem(404, "unknown-source", f"there is no source of that name; there are: {known}") from None

    async def _body(self, request: Request, source: Source, deadline: float) -> bytes | None:
        """Authenticate a request and read its body. None: a message of SNS that is not about objects."""
        left_seconds = deadline - asyncio.get_running_loop().time() - _LAST_SECONDS
        sns = self._signed.get(source.name)
        if sns is not None and sns.wraps(request.headers):
            return await self._sns_body(request, sns, left_seconds)
        if self._shows_secret(request, source):
            if self._secrets is not None:
                proven(request.scope)
            return await read_body(request, self._body_limit_bytes, left_seconds)
        return await self._signed_body(request, source, left_seconds)

    def _shows_secret(self, request: Request, source: Source) -> bool:
        if self._secrets is None or self._secrets.allow(request.headers.get("authorization", "")):
            return True
        token = request.query_params.get("token", "") if source.secret_in_url else ""
        return bool(token) and self._secrets.allow_token(token)

    async def _signed_body(self, request: Request, source: Source, left_seconds: float) -> bytes:
        """Read a body that one of the secrets signed. Raises HttpProblem 401."""
        signature = request.headers.get(source.signature_header or "", "")
        if self._secrets is not None and source.signature_header and signature:
            body = await read_body(request, min(_MAX_SIGNED_BYTES, self._body_limit_bytes), left_seconds)
            if self._secrets.allow_signature(signature, body):
                proven(request.scope)
                return body
        raise unauthorized(_what_is_wrong(request, source))

    async def _sns_body(self, request: Request, sns: Sns, left_seconds: float) -> bytes | None:
        """Read what was published to a trusted topic. Its signature is the credential; no secret takes its place."""
        limit_bytes = min(MAX_MESSAGE_BYTES, self._body_limit_bytes)
        try:
            sns.expect(request.headers)
            text = await sns.open(await read_body(request, limit_bytes, left_seconds), sender(request))
        except NoSnsMessage as error:
            raise HttpProblem(400, "malformed", str(error)) from None
        except UntrustedTopic as error:
            raise HttpProblem(403, "untrusted-topic", str(error)) from None
        except BadSignature as error:
            raise HttpProblem(403, "bad-signature", str(error)) from None
        except SnsUnavailable as error:
            log.warning("SNS message not judged", reason=str(error))
            raise HttpProblem(503, "sns-unavailable", f"{error}. Send it again") from None
        proven(request.scope)
        return text


def _what_is_wrong(request: Request, source: Source) -> str:
    """Say what is wrong with a request's credentials, without any part of them."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "basic") and value.strip():
        return f"the Authorization header carries a {scheme.capitalize()} secret that is none of YURT_WEBHOOK_SECRETS"
    if source.signature_header and source.signature_header in request.headers:
        return f"the signature in {source.signature_header} is not of this body with one of YURT_WEBHOOK_SECRETS"
    if scheme:
        return "the Authorization header is neither Bearer nor Basic with one of YURT_WEBHOOK_SECRETS"
    if not request.query_params.get("token"):
        return "the request carries no secret: there is no Authorization header"
    if source.secret_in_url:
        return "the URL's token is none of YURT_WEBHOOK_SECRETS"
    return f"source {source.name} takes no secret from the URL: it has to be in the Authorization header"

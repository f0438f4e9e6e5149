"""The local bucket as an ASGI application: S3, the notification settings of Tigris, and ``/_yurt/`` for tests.

Bodies are read to the end, into memory or a temporary file, before a request is queued; then one thread carries out one
request after the other and hands the changes to the hub, so the hub's order is the order of commits.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar

from pydantic import ValidationError

from infra.local.cors import PREFLIGHT, allows_page, cors_headers, preflight_answer
from infra.local.exchange import BucketResponse, Call, RefusedError, call_of, error, header_lines, json_answer
from infra.local.faults import Faults, InjectedFault
from infra.local.hub import NotificationHub
from infra.local.notifications import MAX_PATCH_BYTES, NotificationsError, patched
from infra.local.signatures import AcceptedKeys, Signatures, require_all_signed
from infra.local.store import LocalStore, form_fields
from webhook.store_endpoint import is_loopback

ADMIN = "/_yurt/"
"""Path of the administration. No bucket can have such a name."""

_IN_MEMORY_BYTES = 1024 * 1024
_BODY_SECONDS = 300.0
_MAX_FLUSH_SECONDS = 600.0

Found = TypeVar("Found")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class DisconnectedError(Exception):
    """The client left before its request was complete."""


class LocalBucket:
    """Answers HTTP requests. To be closed; the caller closes the store and the hub."""

    def __init__(
        self,
        store: LocalStore,
        hub: NotificationHub,
        max_body_bytes: int,
        keys: AcceptedKeys | None = None,
        *,
        on_loopback: bool = True,
    ) -> None:
        self.store = store
        self._signatures = Signatures(keys or AcceptedKeys())
        self._on_loopback = on_loopback
        self.hub = hub
        self.faults = Faults()
        self._max_body_bytes = max_body_bytes
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="moto")
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Finish the request that is being carried out, and start no other."""
        self._thread.shutdown(cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            answer = await self._answer(scope, receive)
        except RefusedError as refused:
            answer = error(refused.status, refused.code, refused.message)
        except DisconnectedError:
            return
        headers = {**answer.headers, **await self._cors(scope)}
        if scope["method"] != "HEAD" and answer.status not in (204, 304):
            headers["content-length"] = str(len(answer.body))
        await send({"type": "http.response.start", "status": answer.status, "headers": [*header_lines(headers)]})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> BucketResponse:
        if self._on_loopback and not _names_loopback(scope):
            raise RefusedError(403, "AccessDenied", "The Host of a request has to be this machine's loopback.")
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as body:
            size_bytes = await self._read(scope, receive, body)
            if scope["path"].startswith(ADMIN):
                return await self._admin(scope, body.read())
            call = call_of(scope, body, size_bytes)
            if call.method == PREFLIGHT and call.bucket:
                return preflight_answer(call, await self._in_thread(self.store.cors_rules, call))
            if call.header("origin") and not allows_page(call, await self._in_thread(self.store.cors_rules, call)):
                raise RefusedError(403, "AccessForbidden", "No CORS rule of this bucket allows this Origin.")
            signed_headers = self._signed_headers(call)
            if call.bucket and not call.key:
                if call.method == "PATCH":
                    return self._set_notifications(call)
                if call.method == "GET" and "metadata" in call.query:
                    return self._metadata(call)
            return await self._s3(call, signed_headers)

    async def _read(self, scope: Scope, receive: Receive, body: IO[bytes]) -> int:
        """Read the whole body; its size in bytes. Raises RefusedError, DisconnectedError."""
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        size_bytes, more = 0, True
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while more and max(size_bytes, int(declared)) <= self._max_body_bytes:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise DisconnectedError
                    size_bytes += body.write(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            raise RefusedError(
                408, "RequestTimeout", f"The body did not arrive within {_BODY_SECONDS:.0f} s."
            ) from None
        if more:
            raise RefusedError(413, "EntityTooLarge", f"More than {self._max_body_bytes} bytes in one request.")
        body.seek(0)
        return size_bytes

    async def _cors(self, scope: Scope) -> dict[str, str]:
        """What a browser needs to see before its page may read an answer, an error too."""
        if scope["path"].startswith(ADMIN) or not any(name == b"origin" for name, _ in scope["headers"]):
            return {}
        try:
            call = call_of(scope, io.BytesIO(), 0)
        except RefusedError:
            return {}
        return cors_headers(call, await self._in_thread(self.store.cors_rules, call))

    # ── S3 ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _signed_headers(self, call: Call) -> tuple[str, ...]:
        if call.is_form:
            self._signatures.check_form(form_fields(call))
            return ()
        return self._signatures.check(call)

    async def _s3(self, call: Call, signed_headers: tuple[str, ...]) -> BucketResponse:
        fault = self.faults.take(call)
        if fault is None or fault.effect != "unsigned-headers":
            require_all_signed(call, signed_headers)
        if fault is None:
            return await self._in_thread(self._carry_out, call)
        await asyncio.sleep(fault.delay_seconds)
        if fault.effect == "stale":
            return await self._in_thread(self.store.stale_answer, call)
        instead = fault.answer()
        if instead is None or fault.effect == "done":
            answer = await self._in_thread(self._carry_out, call)
            return instead or answer
        return instead

    async def _in_thread(self, work: Callable[[Call], Found], call: Call) -> Found:
        return await self._loop.run_in_executor(self._thread, work, call)

    def _carry_out(self, call: Call) -> BucketResponse:
        answer, changes = self.store.answer(call, keep_previous=self.faults.keeps_previous(call))
        if changes:
            # From this one thread, in the order of commits, and before the response is sent.
            self._loop.call_soon_threadsafe(self.hub.enter, changes, call.header("x-yurt-region"))
        return answer

    # ── notification settings ───────────────────────────────────────────────────────────────────────────────

    def _set_notifications(self, call: Call) -> BucketResponse:
        self._check_settings_call(call)
        if call.size_bytes > MAX_PATCH_BYTES:
            raise RefusedError(413, "EntityTooLarge", f"More than {MAX_PATCH_BYTES} bytes of settings.")
        try:
            settings = json.loads(call.body.read())
            if not isinstance(settings, dict) or set(settings) != {"object_notifications"}:
                raise NotificationsError("the local bucket has no settings but object_notifications")
            self.hub.configure(
                call.bucket, patched(self.hub.notifications(call.bucket), settings["object_notifications"])
            )
        except (ValueError, RecursionError) as wrong:
            reason = str(wrong) if isinstance(wrong, NotificationsError) else "the body is not JSON"
            return json_answer({"status": "error", "message": reason}, 400)
        return json_answer({"status": "success"})

    def _metadata(self, call: Call) -> BucketResponse:
        self._check_settings_call(call)
        count, size_bytes = self.store.sizes(call.bucket)
        described: dict[str, object] = {
            "name": call.bucket,
            "storage_class": "STANDARD",
            "estimated_unique_rows": count,
            "estimated_size": size_bytes,
        }
        if notifications := self.hub.notifications(call.bucket):
            described["object_notifications"] = notifications.masked()
        return json_answer(described)

    def _check_settings_call(self, call: Call) -> None:
        if not self.store.holds(call.bucket):
            raise RefusedError(404, "NoSuchBucket", "The specified bucket does not exist.")

    # ── /_yurt/ ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _admin(self, scope: Scope, body: bytes) -> BucketResponse:
        if not _is_local(scope):
            raise RefusedError(403, "AccessDenied", f"{ADMIN} answers this machine alone.")
        match scope["method"], scope["path"].removeprefix(ADMIN):
            case "GET", "stats":
                return json_answer(self.hub.stats())
            case "POST", "flush":
                return await self._flush(scope)
            case "GET", "faults":
                return json_answer(self.faults.listed())
            case "POST", "faults":
                return self._add_fault(body)
            case "DELETE", "faults":
                self.faults.clear()
                return BucketResponse(204, {})
            case _:
                raise RefusedError(
                    404, "NotFound", f"{ADMIN} has GET stats, POST flush, and GET, POST and DELETE faults."
                )

    async def _flush(self, scope: Scope) -> BucketResponse:
        """Wait until no event is pending, or for ``?deadline=`` seconds."""
        try:
            seconds = min(float(scope["query_string"].removeprefix(b"deadline=") or 30.0), _MAX_FLUSH_SECONDS)
        except ValueError:
            raise RefusedError(400, "InvalidArgument", "deadline has to be a number of seconds.") from None
        try:
            async with asyncio.timeout(seconds):
                await self.hub.drained()
        except TimeoutError:
            return json_answer({"pending": self.hub.pending}, 504)
        return json_answer({"pending": 0})

    def _add_fault(self, body: bytes) -> BucketResponse:
        try:
            self.faults.add(InjectedFault.model_validate_json(body))
        except ValidationError as wrong:
            return json_answer({"error": wrong.errors(include_url=False, include_context=False)}, 400)
        except ValueError as full:
            return json_answer({"error": str(full)}, 409)
        return json_answer(self.faults.listed(), 201)


def _names_loopback(scope: Mapping[str, Any]) -> bool:
    """Whether the Host is this machine. A page's own name that resolves to loopback is none (DNS rebinding)."""
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    return len(hosts) == 1 and is_loopback(f"http://{hosts[0]}")


def _is_local(scope: Mapping[str, Any]) -> bool:
    """Whether the peer is a process on this machine, and not a web page in a browser on it."""
    peer = scope.get("client")
    foreign = any(name == b"origin" for name, _ in scope["headers"])
    return peer is not None and ipaddress.ip_address(peer[0]).is_loopback and not foreign

"""The photo app over HTTP: sign-in, the album, uploads, callbacks, events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from photo_app.album import Album, AlbumFull, Person, Photo, PhotoState
from photo_app.feed import Feed, TooManyPages
from photo_app.headers import PageHeaders, check_origin
from photo_app.processing import Processing, ProcessingError, verified_callback
from photo_app.settings import AlbumSettings
from photo_app.sign_in import COOKIE, LONGEST_NAME, NameRefused, SignInCookies, checked_name

log = logging.getLogger(__name__)

_PAGE = Path(__file__).with_name("page")
_FORM_BYTES = 4_096
_CALLBACK_BYTES = 1 << 20
_OUTDATED_SECONDS = 1_800
"""Age after which a photo's URLs are asked for again: they are valid for an hour."""
_ASKED_AT_ONCE = 8
_RETRY_SECONDS = 5
"""While Yurt is away: a person waits for the answer."""
_KEY = re.compile(r"(?:[^/]+/)*?users/(\d{1,18})/[0-9a-f]{24}/\d+/[^/]+")
"""A key: the pipeline's prefix, the person that a ticket was made for, the ticket's folder, a number, a name. Nothing
else is taken for one: a path that leads elsewhere (``..``) could be resolved on its way to Yurt."""


class AlbumApp:
    """The app. ``asgi`` serves it."""

    def __init__(self, settings: AlbumSettings) -> None:
        self._settings = settings
        self._album = Album(settings.database)
        self._feed = Feed()
        self._cookies = SignInCookies(settings.cookie_key, secure=settings.secure)
        self._yurt = Processing(settings.yurt_url, settings.yurt_token, retry_seconds=_RETRY_SECONDS)
        self._templates = jinja2.Environment(loader=jinja2.FileSystemLoader(_PAGE), autoescape=True)
        self.asgi: ASGIApp = PageHeaders(
            Starlette(
                routes=[
                    Route("/", self.page),
                    Route("/sign-in", self.sign_in, methods=["POST"]),
                    Route("/sign-out", self.sign_out, methods=["POST"]),
                    Route("/photos", self.photos, methods=["GET"]),
                    Route("/photos", self.add_photo, methods=["POST"]),
                    Route("/photos", self.delete_photo, methods=["DELETE"]),
                    Route("/ticket", self.ticket, methods=["POST"]),
                    Route("/events", self.events),
                    Route("/hooks/yurt", self.callback, methods=["POST"]),
                    Mount("/assets", StaticFiles(directory=_PAGE / "assets")),
                ],
                exception_handlers={HTTPException: _problem, ProcessingError: _unreachable},
                lifespan=self._running,
            ),
            yurt=settings.yurt_url,
            stores=settings.store_origins,
        )

    def end_streams(self) -> None:
        """End the open pages' streams: a server that stops waits for them. On the event loop's thread."""
        self._feed.close()

    @contextlib.asynccontextmanager
    async def _running(self, _: Starlette) -> AsyncIterator[None]:
        async with self._yurt:
            yield
        self._album.close()

    # ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def page(self, request: Request) -> Response:
        """The album, or the form to sign in."""
        person = self._person(request)
        return self._html("album.html", person=person) if person else self._sign_in_page()

    async def sign_in(self, request: Request) -> Response:
        """Sign in by a name."""
        check_origin(request)
        [name] = parse_qs((await _body(request, _FORM_BYTES)).decode("utf-8", "replace")).get("name", [""])[:1]
        try:
            person = self._album.person_named(checked_name(name))
        except (NameRefused, AlbumFull) as error:
            return self._sign_in_page(name, str(error))
        return RedirectResponse("/", 303, {"set-cookie": self._cookies.set(person.id)})

    async def sign_out(self, request: Request) -> Response:
        """Sign out."""
        check_origin(request)
        return RedirectResponse("/", 303, {"set-cookie": self._cookies.clear()})

    def _sign_in_page(self, name: str = "", error: str = "") -> Response:
        status = 422 if error else 200
        return self._html("sign_in.html", status, name=name[:LONGEST_NAME], error=error, longest=LONGEST_NAME)

    def _html(self, template: str, status: int = 200, **values: object) -> Response:
        text = self._templates.get_template(template).render(yurt=self._settings.yurt_url, **values)
        return HTMLResponse(text, status, {"cache-control": "no-store"})

    def _person(self, request: Request) -> Person | None:
        number = self._cookies.read(request.cookies.get(COOKIE, ""))
        return None if number is None else self._album.person(number)

    def _signed_in(self, request: Request) -> Person:
        """Who sent a request. Raises HTTPException 401; 403 for a change that another site's page has begun."""
        if request.method != "GET":
            check_origin(request)
        person = self._person(request)
        if person is None:
            raise HTTPException(401, "You are signed out: load the page again.")
        return person

    # ── photos ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def photos(self, request: Request) -> Response:
        """All photos of the person, newest first, with URLs that are still valid for a while."""
        person = self._signed_in(request)
        slots = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def refresh(key: str) -> None:
            async with slots:
                with contextlib.suppress(ProcessingError):  # what is known is better than nothing
                    await self._ask(key)

        await asyncio.gather(*map(refresh, self._album.outdated(person.id, _OUTDATED_SECONDS)))
        return JSONResponse({"photos": [photo.as_json() for photo in self._album.photos(person.id)]})

    async def ticket(self, request: Request) -> Response:
        """A ticket with which the person's browser uploads."""
        person = self._with_room(request)
        return JSONResponse({"ticket": await self._yurt.ticket_for(person.id)})

    async def add_photo(self, request: Request) -> Response:
        """Note a photo that the person's browser has uploaded, so that all its pages show it at once."""
        person, key = self._with_room(request), await _key(request)
        if _owner(key) != person.id:
            raise HTTPException(403, "This is not one of your photos.")
        self._album.add(person.id, key)
        self._show(person.id, key)
        return Response(status_code=204)

    async def delete_photo(self, request: Request) -> Response:
        """Delete one of the person's photos, from the bucket too."""
        person, key = self._signed_in(request), await _key(request)
        if self._album.photo(person.id, key) is None:
            raise HTTPException(404, "This photo is deleted already.")
        await self._yurt.remove(key)
        self._forget(person.id, key)
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        """Tell the person's page what changes, as server-sent events."""
        person = self._signed_in(request)
        try:
            self._feed.check(person.id)
        except TooManyPages:
            raise HTTPException(429, "You have too many pages open: close one.") from None
        return StreamingResponse(
            self._feed.events(person.id), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    def _with_room(self, request: Request) -> Person:
        """Who sent a request, if one more photo is taken. Raises HTTPException 401, 403 or 409."""
        person = self._signed_in(request)
        try:
            self._album.check_room(person.id)
        except AlbumFull as error:
            raise HTTPException(409, str(error)) from None
        return person

    def _show(self, person: int, key: str) -> None:
        """Send a photo to the person's open pages."""
        if photo := self._album.photo(person, key):
            self._feed.publish(person, "photo", photo.as_json())

    # ── what Yurt tells ──────────────────────────────────────────────────────────────────────────────────────────────

    async def callback(self, request: Request) -> Response:
        """Note what became of a photo, and show it. Yurt repeats this until it is answered with success."""
        body = await _body(request, _CALLBACK_BYTES)
        try:
            told = verified_callback(request.headers, body, self._settings.callback_secrets)
        except ProcessingError as error:
            raise HTTPException(400, str(error)) from None
        person = _owner(told.key)
        if person and self._album.person(person) and self._album.is_news(told.key, told.sequence):
            if told.type == "object.gone":
                self._forget(person, told.key)
            else:
                self._album.add(person, told.key)
                await self._ask(told.key, told.sequence)
                self._show(person, told.key)
        return Response(status_code=204)

    async def _ask(self, key: str, sequence: int = 0) -> None:
        """Note what Yurt says of a photo. While another change of it is under way, a callback will tell of that."""
        asked_at = time.time()
        report = await self._yurt.report(key)
        if (state := _state(report)) is not None:
            self._album.record(Photo(key, state, report, asked_at), sequence)

    def _forget(self, person: int, key: str) -> None:
        """Show a photo no more, on all open pages."""
        self._album.delete(person, key)
        self._feed.publish(person, "deleted", {"key": key})


def _state(report: dict[str, Any]) -> PhotoState | None:
    """How the album shows a photo; None: it is not settled, or gone."""
    match report:
        case {"state": "done", "result": {"verdict": "refused"}}:
            return "refused"
        case {"state": "done"}:
            return "done"
        case {"state": "parked"}:
            return "parked"
    return None


def _owner(key: str) -> int | None:
    """The person in whose folder a key lies."""
    found = _KEY.fullmatch(key)
    return int(found[1]) if found else None


async def _body(request: Request, limit_bytes: int) -> bytes:
    """A request's body. Raises HTTPException 413."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise HTTPException(413, "This is too long.")
    return bytes(body)


async def _key(request: Request) -> str:
    """The photo's key that a request names as ``{"key": …}``. Raises HTTPException 413 or 422."""
    try:
        key = json.loads(await _body(request, _FORM_BYTES))["key"]
    except (ValueError, KeyError, TypeError):
        key = None
    if not isinstance(key, str):
        raise HTTPException(422, 'Send {"key": …} as JSON.')
    return key


async def _problem(_request: Request, error: Exception) -> Response:
    """What the page shows of a request that is refused."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"message": error.detail}, error.status_code)


async def _unreachable(request: Request, error: Exception) -> Response:
    """What the page shows while Yurt does not answer. The cause is for the log."""
    log.warning("%s: %s", request.url.path, error)
    return JSONResponse({"message": "Photos cannot be reached now. Try again in a moment."}, 503, {"retry-after": "2"})

"""Addresses of originals and results for the page: it sends the browser to the store by presigned URLs.

No byte of a file passes through the control plane, so nothing that was uploaded is ever served from the page's origin.
Images are shown in ``<img>``, where a browser runs nothing of what they hold. A link to a file saves it: the store is
asked to answer with ``Content-Disposition: attachment``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from webhook.api.http import HttpProblem
from webhook.ledger.coalescing import ObjectPlace
from webhook.ledger.objects import ObjectStanding
from webhook.outputs.keys import KeyTooLong, output_key
from webhook.page.access import PageAuth
from webhook.page.rendering import address
from webhook.pipelines import Pipelines
from webhook.storage.presign import Presigner
from workers.protocol import MANIFEST

_URL_SECONDS = 300
_CACHED_SECONDS = 240
_IMAGES = (".webp", ".avif", ".jpg", ".jpeg", ".png", ".gif")
"""What browsers show in ``<img>``."""


@dataclass(frozen=True, slots=True)
class ShownObject:
    """One object, as a tile of the page."""

    pipeline: str
    key: str
    state: str
    address: str
    """Of its story."""
    thumbnail: str
    """Address of its smallest image; empty: it has none."""
    seconds: float | None
    """From the last event to the result. None: it has none."""
    done_at: datetime | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ShownFile:
    """One file of a result."""

    name: str
    etag: str
    image: str
    """Address for ``<img>``; empty: it is no image."""
    address: str
    """Saves it."""


class ResultFiles:
    """Addresses of originals and results, and the endpoints behind them."""

    def __init__(self, pipelines: Pipelines, presigner: Presigner, auth: PageAuth) -> None:
        self._pipelines = pipelines
        self._presigner = presigner
        self._auth = auth

    def knows(self, place: ObjectPlace) -> bool:
        """Whether an object's pipeline is configured."""
        return place[0] in self._pipelines.by_id

    def shown(self, place: ObjectPlace, row: ObjectStanding) -> ShownObject:
        """One object as a tile."""
        name, key = self._pipelines.name_of(place[0]), place[1]
        seconds = (row.done_at - row.event_at).total_seconds() if row.done_at and row.state == "done" else None
        image = smallest_image([*row.published])
        return ShownObject(
            pipeline=name,
            key=key,
            state=row.state,
            address=address("/object", pipeline=name, key=key),
            thumbnail=_result(name, key, image, row.published[image]) if image else "",
            seconds=None if seconds is None or seconds < 0 else seconds,
            done_at=row.done_at,
            reason=row.reason,
            message=row.message,
        )

    def files(self, pipeline: str, key: str, published: Mapping[str, str]) -> list[ShownFile]:
        """The files of one result, images first."""
        files = [
            ShownFile(
                name,
                etag,
                _result(pipeline, key, name, etag) if _is_image(name) else "",
                f"{_result(pipeline, key, name, etag)}&save=1",
            )
            for name, etag in published.items()
        ]
        return sorted(files, key=lambda file: (not file.image, _by_size(file.name)))

    async def result(self, request: Request) -> Response:
        """Send the browser to one output of an object."""
        self._auth.session(request)
        pipeline_id, key = self.place_of(request)
        _, pipeline = self._pipelines.by_id[pipeline_id]
        name = request.query_params.get("name", "")
        if not name or "/" in name:
            raise HttpProblem(404, "not-found", "an output has a name without a slash")
        try:
            return self._sent(request, pipeline.output.bucket, output_key(pipeline, key, name))
        except KeyTooLong:
            raise HttpProblem(404, "not-found", "no output has so long a key") from None

    async def original(self, request: Request) -> Response:
        """Send the browser to the input of an object."""
        self._auth.session(request)
        pipeline_id, key = self.place_of(request)
        return self._sent(request, self._pipelines.by_id[pipeline_id][1].input.bucket, key)

    def place_of(self, request: Request) -> ObjectPlace:
        """The object that a request's query names. Raises HttpProblem 404."""
        name, key = request.query_params.get("pipeline", ""), request.query_params.get("key", "")
        number = self.number_of(name)
        if (
            not key
            or "\x00" in key
            or not self._pipelines.by_id[number][1].watches(self._pipelines.by_id[number][1].input.bucket, key)
        ):
            raise HttpProblem(404, "not-found", "the pipeline watches no object of that key")
        return number, key

    def number_of(self, name: str) -> int:
        """The number of a configured pipeline. Raises HttpProblem 404."""
        for number, (known, _) in self._pipelines.by_id.items():
            if known == name:
                return number
        raise HttpProblem(404, "unknown-pipeline", "there is no pipeline of that name")

    def _sent(self, request: Request, bucket: str, key: str) -> Response:
        query = {"response-content-disposition": _attachment(key)} if request.query_params.get("save") else {}
        url = self._presigner.url("GET", bucket, key, expires_seconds=_URL_SECONDS, query=query)
        return RedirectResponse(
            url, 307, {"cache-control": f"private, max-age={_CACHED_SECONDS}", "referrer-policy": "no-referrer"}
        )


def _result(pipeline: str, key: str, name: str, etag: str) -> str:
    # The ETag is in the address, so that a browser asks again for an image that has changed, and only then.
    return address("/result", pipeline=pipeline, key=key, name=name, etag=etag)


def _attachment(key: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(key.rpartition('/')[2] or 'file', safe='')}"


def smallest_image(names: Sequence[str]) -> str:
    """The output that suits a tile best: the smallest image by the number in its name. Empty: there is no image."""
    return min((name for name in names if _is_image(name) and name != MANIFEST), key=_by_size, default="")


def _is_image(name: str) -> bool:
    return name.lower().endswith(_IMAGES)


def _by_size(name: str) -> tuple[int, str]:
    stem = name.rpartition(".")[0]
    return (int(stem) if stem.isascii() and stem.isdecimal() and len(stem) < 6 else 10**6, name)

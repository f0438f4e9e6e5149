"""The app's database, SQLite: people, their photos, and what Yurt said of each.

Each call takes well under a millisecond, so they are made on the event loop's own thread.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

PhotoState = Literal["pending", "done", "refused", "parked"]
MOST_PHOTOS = 2_000
"""Of one person."""
MOST_PEOPLE = 10_000
_KEPT_SECONDS = 7 * 86_400
"""For photos that were deleted: Yurt repeats a callback for three days."""
_SCHEMA = """
create table if not exists people (id integer primary key, name text not null unique);
create table if not exists photos (
    key text primary key,
    person integer not null references people,
    state text not null,
    report text not null,
    reported_at real not null,
    sequence integer not null,
    deleted integer not null default 0
);
create index if not exists photos_of on photos (person) where not deleted;
"""


class AlbumFull(Exception):
    """No more people or photos are taken. The message says so to the person."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person who has signed in."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo as the page shows it."""

    key: str
    """Of the original in the input bucket."""
    state: PhotoState
    report: Mapping[str, Any]
    """What Yurt said of it last: the result with its URLs, labels and placeholder, or the error. Empty at first."""
    reported_at: float
    """When Yurt was asked for that, in seconds since 1970: of two, the page keeps the later. 0 at first."""

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return asdict(self)


class Album:
    """People and photos. Close with ``close``.

    A photo that was deleted keeps its row for a while: a callback that was sent before, and comes late, must not bring
    it back.
    """

    def __init__(self, path: Path | str) -> None:
        # Made on one thread and used on another: the event loop's, which is the only one that uses it.
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("pragma journal_mode = wal")
        self._database.executescript(_SCHEMA)
        self._database.execute("delete from photos where deleted and reported_at < ?", (time.time() - _KEPT_SECONDS,))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def person_named(self, name: str) -> Person:
        """The person of that name, a new one where there is none. Raises AlbumFull."""
        [count] = self._row("select count(*) from people") or [0]
        if count >= MOST_PEOPLE and self._row("select 1 from people where name = ?", name) is None:
            raise AlbumFull("This album has as many people as it takes.")
        self._database.execute("insert into people (name) values (?) on conflict do nothing", (name,))
        return Person(*self._row("select id, name from people where name = ?", name) or (0, name))

    def person(self, id: int) -> Person | None:
        """The person with that number."""
        row = self._row("select id, name from people where id = ?", id)
        return Person(*row) if row else None

    def photos(self, person: int) -> list[Photo]:
        """All photos of a person, newest first."""
        return list(self._photos("where person = ? and not deleted order by rowid desc", person))

    def photo(self, person: int, key: str) -> Photo | None:
        """One photo, if it is this person's."""
        return next(self._photos("where person = ? and key = ? and not deleted", person, key), None)

    def outdated(self, person: int, seconds: float) -> list[str]:
        """Keys of the person's photos whose report, and so the URLs in it, is older than that, or is still to come."""
        rows = self._database.execute(
            "select key from photos where person = ? and not deleted and reported_at < ?",
            (person, time.time() - seconds),
        )
        return [key for (key,) in rows]

    def check_room(self, person: int) -> None:
        """Raise AlbumFull where the person has as many photos as one may have."""
        [count] = self._row("select count(*) from photos where person = ? and not deleted", person) or [0]
        if count >= MOST_PHOTOS:
            raise AlbumFull("Your album is full: delete a photo first.")

    def add(self, person: int, key: str) -> None:
        """Note a photo that was uploaded. Does nothing where it is known."""
        self._database.execute(
            "insert into photos (key, person, state, report, reported_at, sequence)"
            " values (?, ?, 'pending', '{}', 0, 0) on conflict do nothing",
            (key, person),
        )

    def is_news(self, key: str, sequence: int) -> bool:
        """Whether a callback with this number tells more than the last one of the photo."""
        row = self._row("select sequence from photos where key = ?", key)
        return row is None or sequence > row[0]

    def record(self, photo: Photo, sequence: int = 0) -> None:
        """Note what Yurt said of a photo that is known, unless something later is known already.

        ``sequence`` is that of the callback, if it was one.
        """
        self._database.execute(
            "update photos set state = ?, report = ?, reported_at = ?, sequence = max(sequence, ?)"
            " where key = ? and reported_at <= ? and not deleted",
            (photo.state, json.dumps(photo.report, default=str), photo.reported_at, sequence, photo.key,
             photo.reported_at),
        )  # fmt: skip

    def delete(self, person: int, key: str) -> None:
        """Show a photo no more."""
        self._database.execute(
            "update photos set deleted = 1, report = '{}', reported_at = ? where person = ? and key = ?",
            (time.time(), person, key),
        )

    def _photos(self, where: str, *values: object) -> Iterator[Photo]:
        rows = self._database.execute(f"select key, state, report, reported_at from photos {where}", values)  # noqa: S608 - ours
        for key, state, report, reported_at in rows:
            yield Photo(key, state, json.loads(report), reported_at)

    def _row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
        return row

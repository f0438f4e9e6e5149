"""The photo app's server: who sees what, cookies, callbacks, and how much of it is Yurt."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import tokenize
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import photo_app
from photo_app.feed import MOST_PAGES, Feed
from photo_app.settings import AlbumSettings, AlbumSettingsError
from photo_app.sign_in import COOKIE, SignInCookies
from tests.examples.photo_albums import KEY, SECRET, RunningAlbum, key_of, running_album, served_album, shown, visit

SOURCES = Path(photo_app.__file__).parent
MARKUP = '<b>Ada</b> & "co"'
MOST_YURT_LINES = 10
CHANGES = (("POST", "/ticket"), ("POST", "/photos"), ("DELETE", "/photos"))

# ── how much of it is Yurt ───────────────────────────────────────────────────────────────────────────────────────────


def code_lines(text: str) -> list[str]:
    """The lines of a module that hold code: no comments, no docstrings."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    ignored = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    numbers = {token.start[0] for token in tokens if token.type not in ignored} - docstrings
    return [line for number, line in enumerate(text.splitlines(), 1) if number in numbers]


def test_the_yurt_part_of_the_server_is_ten_lines() -> None:
    text = (SOURCES / "processing.py").read_text(encoding="utf-8")
    _, _, rest = text.partition("# ── Yurt begins ──\n")
    part, _, after = rest.partition("# ── Yurt ends ──\n")
    lines = code_lines(part)
    assert 0 < len(lines) <= MOST_YURT_LINES, "\n".join(lines)
    assert after == ""
    others = [path for path in SOURCES.rglob("*.py") if path.name != "processing.py"]
    imports = [node for path in others for node in ast.walk(ast.parse(path.read_text())) if _imports_yurt(node)]
    assert len(others) > 5
    assert imports == [], "Yurt is used elsewhere too"


def _imports_yurt(node: ast.AST) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return any(name.partition(".")[0] in ("yurt", "webhook", "workers", "infra") for name in names)


# ── who it is ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_names_cookies_origins_and_requests_from_outside(
    postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_album(postgres_dsn, tmp_path) as album, visit(album.url, MARKUP) as visitor:
        await check_names(visitor)
        await check_forged_cookies(album, visitor.cookies[COOKIE], monkeypatch)
        await check_origins(album, visitor)
        await check_bodies(visitor)
        await check_open_pages(visitor)
        cleared = (await visitor.post("/sign-out")).headers["set-cookie"]
        assert cleared.startswith(f'{COOKIE}="";')
        assert "HttpOnly" in cleared
        assert "SameSite=Lax" in cleared


async def check_names(visitor: httpx.AsyncClient) -> None:
    """A name with markup is shown as text, and one that cannot be shown is refused."""
    page = await visitor.get("/")
    assert "&lt;b&gt;Ada&lt;/b&gt; &amp; &#34;co&#34;" in page.text
    assert "<b>Ada" not in page.text
    assert "default-src 'none'; script-src 'self' http" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert (await visitor.get("/assets/album.css")).headers["cache-control"] == "no-cache"
    for name in ("", "  ", "a\x07", MARKUP * 9):
        refused = await visitor.post("/sign-in", data={"name": name})
        assert (refused.status_code, "<b>" in refused.text) == (422, False), name


async def check_forged_cookies(album: RunningAlbum, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cookie that was not signed here, or has expired, signs no browser in."""
    person, ends_at, signature = good.split(".")
    with monkeypatch.context() as past:
        past.setattr("photo_app.sign_in.time.time", lambda: 0)
        outdated = cookie_of(KEY)
    forged = (f"2.{ends_at}.{signature}", f"{person}.{ends_at}9.{signature}", good[:-1], cookie_of(b"other"), outdated)
    for cookie in ("", "..", "x", *forged):
        async with visit(album.url, cookie=f"{COOKIE}={cookie}") as visitor:
            assert "Your name" in (await visitor.get("/")).text, cookie
            for method, path in (("GET", "/photos"), ("GET", "/events"), *CHANGES):
                assert (await visitor.request(method, path)).status_code == 401, (cookie, path)
    async with visit(album.url, cookie=f"{COOKIE}={cookie_of(KEY)}") as visitor:
        assert await shown(visitor) == {}


def cookie_of(key: bytes) -> str:
    """The first person's cookie, signed with this key."""
    return SignInCookies(key, secure=False).set(1).partition("=")[2].partition(";")[0]


async def check_origins(album: RunningAlbum, visitor: httpx.AsyncClient) -> None:
    """Changes come from the album's own page alone."""
    for origin in ("https://example.com", "null", album.url.replace("127.0.0.1", "localhost"), ""):
        for method, path in (("POST", "/sign-in"), ("POST", "/sign-out"), *CHANGES):
            answer = await visitor.request(method, path, headers={"origin": origin})
            assert answer.status_code == 403, (origin, path)


async def check_bodies(visitor: httpx.AsyncClient) -> None:
    """Bodies that are malformed or too long are refused."""
    for body in (b"", b"[]", b'{"key": 1}', b"null", b"\xff"):
        assert (await visitor.post("/photos", content=body)).status_code == 422, body
    for path in ("/photos", "/sign-in"):
        assert (await visitor.post(path, content=b" " * 5_000)).status_code == 413


async def check_open_pages(visitor: httpx.AsyncClient) -> None:
    """A person may have so many pages open."""
    async with contextlib.AsyncExitStack() as stack:
        pages = []
        for _ in range(MOST_PAGES):
            page = await stack.enter_async_context(visitor.stream("GET", "/events"))
            pages.append(page.aiter_lines())
            assert await anext(pages[-1]) == "retry: 1000"
        assert (await visitor.get("/events")).status_code == 429


async def test_photos_of_another_person_are_neither_shown_nor_changed(postgres_dsn: str, tmp_path: Path) -> None:
    async with (
        running_album(postgres_dsn, tmp_path) as album,
        visit(album.url, "Ada") as ada,
        visit(album.url, "Bob") as bob,
    ):
        key = key_of(1)
        await album.add(ada, key)
        async with bob.stream("GET", "/events") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 1000"
            await album.settle(key)
            assert await album.call_back("done", key) == 204
            for other in (key, f"users/2/../../{key}", f"{key_of(2)}/../../../../../{key}", "users/2/a.jpg"):
                assert (await bob.post("/photos", json={"key": other})).status_code == 403, other
            assert (await bob.request("DELETE", "/photos", json={"key": key})).status_code == 404
            assert await shown(bob) == {}
            await album.add(bob, key_of(2, "bob.jpg"))
            assert (await next_data(lines))["key"] == key_of(2, "bob.jpg"), "the first that Bob's page hears of"
        assert [(photo["state"], photo["key"]) for photo in (await shown(ada)).values()] == [("done", key)]
        for visitor in (ada, bob):
            assert (await visitor.post("/ticket")).json()["ticket"].startswith("yurt_ticket_")
        folders = [row["folder"].split("/")[:2] for row in await album.plane.sql("select folder from upload_tickets")]
        assert folders == [["users", "1"], ["users", "2"]]


async def next_data(lines: AsyncIterator[str]) -> Any:
    """The data of the next event of a stream."""
    async for line in lines:
        if line.startswith("data: "):
            return json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream has ended")


# ── what Yurt tells ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_callbacks_are_believed_if_they_are_signed_and_are_news(postgres_dsn: str, tmp_path: Path) -> None:
    async with running_album(postgres_dsn, tmp_path) as album:
        async with visit(album.url, "Ada") as ada:
            await check_forged_callbacks(album, ada, key_of(1))
        async with visit(album.url, "Bob") as bob:
            await check_results_on_open_pages(album, bob, key_of(2), key_of(2, "b.jpg"))
            assert await album.call_back("done", "elsewhere/a.jpg") == 204
            assert await album.call_back("done", key_of(77)) == 204
            assert len(await shown(bob)) == 2, "photos of no person of this album"
        async with visit(album.url, "Eve") as eve:
            await album.add(eve, key_of(3))
            await album.settle(key_of(3))
            assert [photo["state"] for photo in (await shown(eve)).values()] == ["done"], "although none has told it"


async def check_forged_callbacks(album: RunningAlbum, ada: httpx.AsyncClient, key: str) -> None:
    """A forged callback changes nothing, and a late one does not bring back what was deleted."""
    await album.add(ada, key)
    await album.settle(key)
    assert await album.call_back("gone", key, secret=SECRET.replace("A", "B")) == 400
    assert await album.call_back("gone", key, age_seconds=600) == 400
    assert await album.call_back("gone", key, added=b" ") == 400
    assert await album.call_back("gone", key, added=b" " * (1 << 20)) == 413
    assert (await ada.post("/hooks/yurt", content=b"{}")).status_code == 400
    assert (await shown(ada))[key]["state"] == "done"
    assert await album.call_back("gone", key, 2) == 204
    assert await shown(ada) == {}
    assert await album.call_back("done", key, 3) == 204
    assert await shown(ada) == {}
    assert (await ada.request("DELETE", "/photos", json={"key": key})).status_code == 404


async def check_results_on_open_pages(album: RunningAlbum, bob: httpx.AsyncClient, good: str, bad: str) -> None:
    """Results, and why there are none, reach open pages; an older callback changes nothing."""
    await album.add(bob, good)
    async with bob.stream("GET", "/events") as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        await album.settle(good)
        assert await album.call_back("done", good, 5) == 204
        told = await next_data(lines)
        assert told["state"] == "done"
        assert [file["name"] for file in told["report"]["result"]["files"]] == ["256.webp"]
        await album.add(bob, bad)
        assert (await next_data(lines))["state"] == "pending"
        await album.settle(bad, parked="This is <no> photo.")
        assert await album.call_back("parked", bad) == 204
        assert (await next_data(lines))["report"]["error"]["message"] == "This is <no> photo."
    assert await album.call_back("gone", good, 4) == 204
    assert {photo["state"] for photo in (await shown(bob)).values()} == {"done", "parked"}


async def test_a_page_that_is_too_slow_and_a_server_that_stops_end_a_stream() -> None:
    feed = Feed()
    slow, other = feed.events(1), feed.events(2)
    assert await anext(slow) == await anext(other) == "retry: 1000\n\n"
    for number in range(1_000):
        feed.publish(1, "photo", {"number": number})
    events = [event async for event in slow]
    assert events[0] == 'event: photo\ndata: {"number": 0}\n\n'
    assert 100 < len(events) < 1_000
    feed.close()
    assert [event async for event in other] == []
    assert [event async for event in feed.events(3)] == ["retry: 1000\n\n"]


async def test_yurt_that_is_away_is_said(tmp_path: Path) -> None:
    with served_album(tmp_path, "http://127.0.0.1:9", "yurt_app_of_tests") as url:
        async with visit(url, "Ada") as ada:
            answer = await ada.post("/ticket")
            assert answer.status_code == 503
            assert answer.json() == {"message": "Photos cannot be reached now. Try again in a moment."}


def test_settings_that_are_missing_are_named() -> None:
    environment = {
        "YURT_URL": "https://yurt.example.com/", "YURT_TOKEN": "t", "YURT_CALLBACK_SECRETS": "whsec_a, whsec_b",
        "PHOTO_APP_SECRET": "s" * 32, "PHOTO_APP_STORE": "https://a.example https://b.example",
    }  # fmt: skip
    settings = AlbumSettings.from_environment(environment)
    assert (settings.yurt_url, settings.callback_secrets) == ("https://yurt.example.com", ("whsec_a", "whsec_b"))
    assert (settings.store_origins, settings.secure) == (("https://a.example", "https://b.example"), True)
    assert "whsec" not in repr(settings)
    for name, value in (*((name, " ") for name in environment), ("PHOTO_APP_SECRET", "short")):
        with pytest.raises(AlbumSettingsError, match=f"set {name}: "):
            AlbumSettings.from_environment({**environment, name: value})

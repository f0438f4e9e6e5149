"""``/yurt.js`` as it is served: its size, what it may not contain, caching, and to whom."""

from __future__ import annotations

import gzip
import re

from tests.webhook.plane import control_plane
from webhook.javascript.served_module import BrowserModule

MOST_BYTES = 10_000
"""As it goes over the line."""
EXPORTED = {"YurtError", "YurtImage", "YurtUpload", "result", "thumbhash", "upload", "watch", "words"}


def test_the_module_is_small() -> None:
    assert len(BrowserModule().compressed) < MOST_BYTES


def test_the_module_keeps_to_a_strict_policy_and_to_itself() -> None:
    code = re.sub(r"^\s*(//|/?\*).*$", "", BrowserModule().content.decode(), flags=re.MULTILINE)
    for forbidden in (
        r"\beval\(", r"\bFunction\(", r"innerHTML", r"outerHTML", r"insertAdjacentHTML", r"document\.write",
        r"\.style\b", r"<style", r"globalThis", r"window\.", r"https?://", r"import\(", r"^import ",
    ):  # fmt: skip
        assert not re.search(forbidden, code, re.MULTILINE), forbidden


def test_everything_exported_is_described() -> None:
    text = BrowserModule().content.decode()
    described = re.findall(r"\*/\nexport (?:async )?(?:const|class|function) (\w+)", text)
    assert set(described) == set(re.findall(r"^export \w+(?: function)? (\w+)", text, re.MULTILINE)) == EXPORTED
    for name in ("upload", "watch", "result", "thumbhash"):
        comment = text[: text.index(f"function {name}(")].rpartition("/**")[2]
        assert "@param {" in comment, name
        assert "@returns {" in comment, name


async def test_pages_of_any_origin_load_it(postgres_dsn: str) -> None:
    module = BrowserModule()
    foreign = {"origin": "https://app.example.com", "accept-encoding": "identity"}
    async with control_plane(postgres_dsn, loops=False) as plane:
        newest = await plane.http.get("/yurt.js", headers=foreign)
        assert (newest.status_code, newest.content) == (200, module.content)
        assert newest.headers["content-type"] == "text/javascript; charset=utf-8"
        assert newest.headers["access-control-allow-origin"] == "*"
        assert newest.headers["cross-origin-resource-policy"] == "cross-origin"
        assert newest.headers["cache-control"] == "public, max-age=300"
        unchanged = await plane.http.get("/yurt.js", headers={"if-none-match": newest.headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        exact = await plane.http.get(newest.headers["content-location"], headers={"accept-encoding": "br, gzip"})
        assert (exact.headers["content-encoding"], exact.content) == ("gzip", module.content)
        assert "immutable" in exact.headers["cache-control"]
        refused = await plane.http.get("/yurt.js", headers={"accept-encoding": "gzip;q=0"})
        assert "content-encoding" not in refused.headers
        other = await plane.http.get("/yurt-000000000000.js")
        assert (other.status_code, other.json()["error"]) == (404, "not-found")
        assert (await plane.http.head("/yurt.js")).status_code == 200
    assert gzip.decompress(module.compressed) == module.content

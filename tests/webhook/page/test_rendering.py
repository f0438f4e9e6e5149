"""Headers of every page, and text from outside: escaped, and never a link or a script."""

from __future__ import annotations

import re

from tests.webhook.page.visits import parked, visiting
from tests.webhook.plane import configured, control_plane, pipeline
from webhook.page.rendering import address, plain_sentence

EVIL = "\"><script>alert(1)</script>'\u202egpj.exe & #?%2F.."


async def test_a_browser_may_run_and_show_what_comes_with_the_page_alone(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn, loops=False, store="http://127.0.0.1:9") as plane,
        visiting(plane) as visitor,
    ):
        for path in ("/", "/machines", "/parked", "/sign-in", "/no-such-machine/1", "/machines/999"):
            response = await visitor.get(path)
            if "json" in response.headers["content-type"]:  # no route: the API's own answer
                continue
            policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
            assert policy["default-src"] == "'none'", path
            assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
            assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert policy["img-src"] == "'self' blob: http://127.0.0.1:9"
            assert policy["connect-src"] == "'self' http://127.0.0.1:9"
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["referrer-policy"] == "same-origin"
            assert "<script>" not in response.text
            assert "style=" not in response.text
            assert " on" not in {word[:3] for word in response.text.split("<") if "=" in word and word.startswith("on")}


async def test_keys_with_every_awkward_character_are_text_and_their_links_lead_to_them(postgres_dsn: str) -> None:
    config = configured({"photos": pipeline(conditions="quoted", attempts=1)})
    async with control_plane(postgres_dsn, config, loops=False) as plane, visiting(plane) as visitor:
        [id] = (await parked(plane, EVIL, message=EVIL, log=EVIL)).values()
        for path, query in (
            ("/objects", {}), ("/objects", {"part": EVIL}), ("/parked", {}), ("/parked", {"prefix": EVIL}),
            (f"/parked/{id}", {}), ("/object", {"pipeline": "photos", "key": EVIL}),
        ):  # fmt: skip
            text = await visitor.page(path, **query)
            assert "<script>alert" not in text, path
            # What was typed into a field of the search stays there as it is.
            assert "\u202e" not in re.sub(r'value="[^"]*"', "", text), path
            assert "&lt;script&gt;alert(1)" in text, path
            assert "\\u202egpj.exe" in text, path
        assert address("/object", pipeline="photos", key=EVIL).replace("&", "&amp;") in await visitor.page("/objects")


async def test_an_event_that_is_markup_is_shown_as_text(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        await plane.post_events({"eventName": "<img src=x onerror=alert(1)>", "bucket": 1})
        text = await visitor.page("/quarantine")
        assert "<img src=x" not in text
        [row] = await plane.sql("select id from quarantine")
        assert "&lt;img src=x onerror=alert(1)&gt;" in await visitor.page(f"/quarantine/{row['id']}")


def test_addresses_hold_any_text() -> None:
    assert address("/object", pipeline="p", key="a/b ?#&=%\u202e", nothing=None, empty="") == (
        "/object?pipeline=p&key=a%2Fb+%3F%23%26%3D%25%E2%80%AE"
    )
    assert address("/") == "/"


def test_messages_become_sentences() -> None:
    assert plain_sentence("there is none: look") == "There is none: look."
    assert plain_sentence("Really?") == "Really?"

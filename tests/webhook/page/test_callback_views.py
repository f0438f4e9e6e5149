"""Callbacks on the page: counted, listed, shown, told again after a question, and a receiver that is off."""

from __future__ import annotations

from tests.webhook.callbacks.receiving_app import SECRET
from tests.webhook.page.contents import APP, given_up
from tests.webhook.page.visits import VIEWER, visiting
from tests.webhook.plane import RunningPlane, configured, control_plane, pipeline

CONFIG = configured({"photos": pipeline(conditions="quoted", attempts=1, callback=APP)})


async def test_callbacks_are_told_again_after_a_question(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn, CONFIG, loops=False, yurt_callback_secrets=SECRET) as plane,
        visiting(plane) as visitor,
    ):
        ids = await given_up(plane, "a.jpg", "b & <c>.jpg")
        text = await visitor.page("/callbacks")
        assert "b &amp; &lt;c&gt;.jpg" in text
        assert "it answered 500" in text
        assert 'data-name="Given up" class="n">2<' in text
        assert "No such callback" in await visitor.page("/callbacks", state="told")
        assert "yurt callbacks list --state given-up" in await visitor.page("/callbacks", state="given-up", key="")
        shown = await visitor.page(f"/callbacks/{ids['a.jpg']}")
        assert "No &lt;photo&gt;." in shown
        assert f"yurt callbacks show {ids['a.jpg']}" in shown

        asked = await visitor.submit("/callbacks", pipeline="photos", ids=str(ids["a.jpg"]))
        assert "Tell 1 callback again?" in asked.text
        assert f"yurt callbacks replay photos {ids['a.jpg']}" in asked.text
        assert await _waiting(plane) == 0
        asked = await visitor.submit("/callbacks", pipeline="photos", state="given-up")
        assert "yurt callbacks replay photos --given-up" in asked.text
        done = await visitor.submit("/callbacks", pipeline="photos", ids=str(ids["a.jpg"]), confirmed="1")
        assert "One will be told again." in await visitor.page(done.headers["location"])
        assert await _waiting(plane) == 1
        assert "Tell it again" not in await visitor.page(f"/callbacks/{ids['a.jpg']}")

        await plane.sql("update callback_feeds set off_for = 'x', off_at = yurt_now()")
        assert "has turned its callbacks off" in await visitor.page("/callbacks")
        for fields in ({"pipeline": "photos"}, {"pipeline": "photos", "state": "waiting"}, {"state": "told"}):
            assert (await visitor.submit("/callbacks", **fields)).status_code == 422, fields


async def _waiting(plane: RunningPlane) -> int:
    [row] = await plane.sql("select count(*) from callbacks where state = 'waiting'")
    return int(row["count"])


async def test_callbacks_by_pages_and_without_any(postgres_dsn: str) -> None:
    async with (
        control_plane(
            postgres_dsn, CONFIG, loops=False, yurt_callback_secrets=SECRET, yurt_viewer_token=VIEWER
        ) as plane,
        visiting(plane, VIEWER) as viewer,
    ):
        assert "No pipeline has a callback" in await viewer.page("/callbacks")
        ids = await given_up(plane, *(f"{number:02}.jpg" for number in range(51)))
        first = await viewer.page("/callbacks")
        assert first.count('href="/callbacks/') == 50
        second = await viewer.page("/callbacks?before=" + first.partition("before=")[2].partition('"')[0])
        assert second.count('href="/callbacks/') == 1
        assert "No pipeline has a callback" not in second
        for path in ("/callbacks", f"/callbacks/{ids['00.jpg']}"):
            assert "<form method" not in (await viewer.page(path)).partition("<main")[2], path
        assert (await viewer.get("/callbacks/999")).status_code == 404

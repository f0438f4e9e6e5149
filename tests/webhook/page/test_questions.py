"""What is asked before a change: its form sends the same order again, and nothing to do has no button."""

from __future__ import annotations

from starlette.requests import Request

from webhook.page.access import PageAuth
from webhook.page.cookies import SessionCookies
from webhook.page.questions import Question, ask
from webhook.page.rendering import Rendering
from webhook.page.served_files import Assets


def asked(question: Question) -> str:
    cookies = SessionCookies({"admin": "secret"}, secure=False)
    cookie = cookies.header(cookies.new("admin")).partition(";")[0]
    scope = {"type": "http", "method": "POST", "path": "/x", "headers": [(b"cookie", cookie.encode())], "state": {}}
    response = ask(Rendering(Assets(), []), PageAuth(cookies, ""), Request(scope), question)
    return bytes(response.body).decode()


def test_the_confirmation_sends_the_order_again() -> None:
    text = asked(
        Question(
            "Forget <1>?", "It ends.", "yurt parked forget 1", "Forget", "/parked", "/parked",
            fields=[("ids", '1"2'), ("verb", "forget")], dangerous=True,
        )
    )  # fmt: skip
    assert "Forget &lt;1&gt;?" in text
    assert 'name="ids" value="1&#34;2"' in text
    assert 'name="verb" value="forget"' in text
    assert 'name="confirmed" value="1"' in text
    assert '<button class="danger" autofocus>Forget</button>' in text
    assert 'aria-current="page">Parked<' in text


def test_where_there_is_nothing_to_do_there_is_only_a_way_back() -> None:
    text = asked(Question("Redrive 0 objects?", "None.", "", "", "/parked", "/machines/7"))
    assert "autofocus" not in text
    assert '<a class="button" href="/machines/7">Back</a>' in text
    assert 'aria-current="page">Machines<' in text

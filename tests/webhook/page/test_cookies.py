"""Session cookies: signed, bounded in time, ended by a new token, and what browsers are told of them."""

from __future__ import annotations

from starlette.requests import Request

from webhook.page.cookies import SESSION_SECONDS, SessionCookies

TOKENS = {"admin": "a" * 32, "viewer": "v" * 32}


class SteppedClock:
    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


def made(clock: SteppedClock | None = None, *, secure: bool = False, admin: str = TOKENS["admin"]) -> SessionCookies:
    return SessionCookies({"admin": admin, "viewer": TOKENS["viewer"]}, secure=secure, clock=clock or SteppedClock())


def request(cookie: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", cookie.encode())]})


def sent(header: str) -> Request:
    return request(header.partition(";")[0])


def test_a_session_is_read_back_until_it_ends() -> None:
    clock = SteppedClock()
    cookies = made(clock)
    session = cookies.new("viewer")
    assert cookies.read(sent(cookies.header(session))) == session
    assert not session.may_change
    clock.seconds += SESSION_SECONDS - 1
    assert cookies.read(sent(cookies.header(session))) == session
    assert not cookies.has_ended(session)
    clock.seconds += 1
    assert cookies.read(sent(cookies.header(session))) is None
    assert cookies.has_ended(session)


def test_a_cookie_that_was_changed_is_none() -> None:
    cookies = made()
    header = cookies.header(cookies.new("viewer")).partition(";")[0]
    name, _, value = header.partition("=")
    role, end, nonce, signature = value.split(".")
    for forged in (
        f"admin.{end}.{nonce}.{signature}",
        f"{role}.{int(end) + 1}.{nonce}.{signature}",
        f"{role}.{end}.{nonce}x.{signature}",
        f"{role}.{end}.{nonce}.{signature[:-1]}",
        f"{role}.{end}.{nonce}.",
        f"{role}.-1.{nonce}.{signature}",
        f"root.{end}.{nonce}.{signature}",
        "",
        "." * 400,
    ):
        assert cookies.read(request(f"{name}={forged}")) is None, forged


def test_a_new_token_ends_the_sessions_of_its_role_alone() -> None:
    before, after = made(), made(admin="b" * 32)
    for role, remains in (("admin", False), ("viewer", True)):
        session = before.new("admin" if role == "admin" else "viewer")
        value = before.header(session).partition(";")[0].partition("=")[2]
        assert (after.read(request(f"{after.name}={value}")) is not None) is remains, role


def test_browsers_send_it_to_this_site_alone_and_show_it_to_no_script() -> None:
    header = made().header(made().new("admin"))
    assert "HttpOnly" in header
    assert "SameSite=Strict" in header
    assert "Path=/" in header
    assert "Secure" not in header
    assert f"Max-Age={SESSION_SECONDS}" in header
    secure = made(secure=True)
    assert "Secure" in secure.header(secure.new("admin"))
    assert secure.name.startswith("__Host-")
    assert "Max-Age=0" in secure.ending_header()


def test_two_control_planes_on_one_machine_do_not_share_a_cookie() -> None:
    assert made().name != made(admin="b" * 32).name


def test_tokens_against_forged_requests_differ_by_session() -> None:
    cookies = made()
    assert cookies.new("admin").csrf != cookies.new("admin").csrf
    assert cookies.new("admin").csrf not in repr(cookies.new("admin"))

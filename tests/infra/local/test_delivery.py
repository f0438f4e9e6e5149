from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from infra.local.counts import Counts
from infra.local.delivery import Delivery, client
from infra.local.notifications import NotificationTarget, WebhookAuth
from infra.local.options import Posting
from infra.local.payload import Change, EventName, HubEvent
from tests.infra.receiver import RecordingReceiver
from tests.polling import until

QUICK = Posting(backoff_seconds=0.01, timeout_seconds=5)
NOW = datetime.now(UTC)


def event(key: str) -> HubEvent:
    return HubEvent(Change(EventName.PUT, "photos-in", key, 1, "etag", NOW), bytes(10), NOW)


def webhook(url: str, auth: WebhookAuth | None = None) -> NotificationTarget:
    return NotificationTarget.model_validate({"web_hook": url, "auth": auth})


@asynccontextmanager
async def delivering(
    notifications: NotificationTarget, posting: Posting = QUICK, max_pending: int = 1_000
) -> AsyncIterator[tuple[Delivery, Counts]]:
    counts = Counts()
    async with client(posting) as http:
        delivery = Delivery(notifications, posting, counts, http, max_pending)
        try:
            yield delivery, counts
        finally:
            await delivery.close()


async def settled(delivery: Delivery) -> None:
    await until(lambda: not delivery.pending)


async def test_events_that_wait_together_travel_together_up_to_a_full_batch(receiver: RecordingReceiver) -> None:
    async with delivering(webhook(receiver.url)) as (delivery, counts):
        for number in range(25):
            delivery.put(event(str(number)))
        await settled(delivery)
    assert [len(post.events) for post in receiver.posts] == [10, 10, 5]
    assert [key for _, key in receiver.names_and_keys] == [str(number) for number in range(25)]
    assert counts.posted == 25
    assert counts.requests == {"200": 3}


async def test_the_body_is_json_and_the_secret_is_in_the_header(receiver: RecordingReceiver) -> None:
    async with delivering(webhook(receiver.url, WebhookAuth(token="t0ken"))) as (delivery, _):
        delivery.put(event("a"))
        await settled(delivery)
        delivery.notifications = webhook(receiver.url, WebhookAuth(basic_user="u", basic_pass="p"))
        delivery.put(event("b"))
        await settled(delivery)
        delivery.notifications = webhook(receiver.url)
        delivery.put(event("c"))
        await settled(delivery)
    assert [post.headers.get("authorization") for post in receiver.posts] == [
        "Bearer t0ken",
        "Basic dTpw",
        None,
    ]
    assert {post.headers["content-type"] for post in receiver.posts} == {"application/json"}


@pytest.mark.parametrize("status", [204, 299])
async def test_every_2xx_acknowledges(status: int) -> None:
    with RecordingReceiver(status) as receiver:
        async with delivering(webhook(receiver.url)) as (delivery, counts):
            delivery.put(event("a"))
            await settled(delivery)
    assert counts.posted == 1
    assert len(receiver.posts) == 1


@pytest.mark.parametrize("status", [301, 307, 400, 401, 409, 429, 500, 503])
async def test_anything_else_is_tried_again_with_the_same_request(status: int) -> None:
    with RecordingReceiver(status, status) as receiver:
        async with delivering(webhook(receiver.url)) as (delivery, counts):
            delivery.put(event("a"))
            delivery.put(event("b"))
            await settled(delivery)
    assert [post.body for post in receiver.posts] == [receiver.posts[0].body] * 3
    assert (counts.posted, counts.retries, counts.given_up) == (2, 2, 0)
    assert counts.requests == {str(status): 2, "200": 1}


async def test_retries_run_out_and_the_events_are_lost(capfd: pytest.CaptureFixture[str]) -> None:
    with RecordingReceiver(*[500] * 9) as receiver:
        async with delivering(webhook(receiver.url)) as (delivery, counts):
            delivery.put(event("a"))
            delivery.put(event("b"))
            await settled(delivery)
    assert len(receiver.posts) == 4
    assert (counts.posted, counts.given_up, counts.retries) == (0, 2, 3)
    assert "gave up 2 events" in capfd.readouterr().err


async def test_for_ever_is_more_often_than_that() -> None:
    forever = Posting(retries=None, backoff_seconds=0.001, max_backoff_seconds=0.002)
    with RecordingReceiver(*[503] * 40) as receiver:
        async with delivering(webhook(receiver.url), forever) as (delivery, counts):
            delivery.put(event("a"))
            await settled(delivery)
    assert len(receiver.posts) == 41
    assert (counts.posted, counts.given_up) == (1, 0)


async def test_later_events_do_not_wait_for_a_request_that_is_tried_again() -> None:
    with RecordingReceiver(500) as receiver:
        async with delivering(webhook(receiver.url), Posting(batch=1, backoff_seconds=1)) as (delivery, _):
            delivery.put(event("first"))
            delivery.put(event("second"))
            await settled(delivery)
    assert [key for _, key in receiver.names_and_keys] == ["first", "second", "first"]


async def test_a_receiver_that_hangs_is_left_and_tried_again() -> None:
    with RecordingReceiver(0) as receiver:
        async with delivering(webhook(receiver.url), Posting(timeout_seconds=0.3, backoff_seconds=0, retries=None)) as (
            delivery,
            counts,
        ):
            delivery.put(event("a"))
            await settled(delivery)
    assert counts.requests["timeout"] >= 1
    assert counts.posted == 1


async def test_nobody_there_is_counted_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    async with delivering(webhook(url), Posting(retries=1, backoff_seconds=0)) as (delivery, counts):
        delivery.put(event("a"))
        await settled(delivery)
    assert counts.requests == {"unreachable": 2}
    assert counts.given_up == 1


async def test_what_waits_goes_to_the_new_webhook() -> None:
    with RecordingReceiver(*[500] * 100) as before, RecordingReceiver() as after:
        forever = Posting(retries=None, backoff_seconds=0.01, max_backoff_seconds=0.01)
        async with delivering(webhook(before.url), forever) as (delivery, _):
            delivery.put(event("a"))
            await asyncio.to_thread(before.wait, lambda receiver: len(receiver.posts) > 1)
            delivery.notifications = webhook(after.url)
            await settled(delivery)
    assert after.names_and_keys == [("OBJECT_CREATED_PUT", "a")]


async def test_more_than_may_wait_is_discarded_and_counted(receiver: RecordingReceiver) -> None:
    async with delivering(webhook(receiver.url), max_pending=3) as (delivery, counts):
        for number in range(5):
            delivery.put(event(str(number)))
        await settled(delivery)
    assert (counts.posted, counts.discarded) == (3, 2)


async def test_a_batch_waits_for_company_when_asked_to(receiver: RecordingReceiver) -> None:
    async with delivering(webhook(receiver.url), Posting(linger_seconds=0.3)) as (delivery, _):
        delivery.put(event("a"))
        await asyncio.sleep(0.01)
        delivery.put(event("b"))
        await settled(delivery)
    assert [len(post.events) for post in receiver.posts] == [2]

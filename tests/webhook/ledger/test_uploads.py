"""A ticket never allows more uploads than it says, however many ask at once; the negative model does."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.webhook.ledger.ledger_bench import LedgerBench, bench
from webhook.ledger.uploads import Ticket, TicketOrder, UploadLedger


async def ticket(uploads: UploadLedger, allowed: int) -> Ticket:
    made = await uploads.issue(TicketOrder(None, "photos", "uploads/", ["*/*"], 100, allowed, 60))
    found = await uploads.ticket(made.secret)
    assert found is not None
    return found


async def take_unguarded(b: LedgerBench, of: Ticket) -> int | None:
    """The negative model: looks, and then takes."""
    used = await b.sql("select used from upload_tickets where id = $1", of.id)
    if used >= of.uploads:
        return None
    number: int = await b.sql(
        "update upload_tickets set used = used + 1, drawn = drawn + 1 where id = $1 returning drawn", of.id
    )
    return number


@pytest.mark.parametrize("allowed", [1, 3, 10])
async def test_no_more_uploads_than_a_ticket_allows(postgres_dsn: str, allowed: int) -> None:
    async with bench(postgres_dsn) as b:
        uploads = UploadLedger(b.ledger)
        guarded, unguarded = await ticket(uploads, allowed), await ticket(uploads, allowed)
        taken = [number for number in await asyncio.gather(*(uploads.take(guarded) for _ in range(30))) if number]
        assert sorted(taken) == list(range(1, allowed + 1))
        too_many = [n for n in await asyncio.gather(*(take_unguarded(b, unguarded) for _ in range(30))) if n]
        assert len(too_many) > allowed


@pytest.mark.parametrize("seed", range(3))
async def test_an_upload_that_was_given_back_is_taken_again_under_another_number(postgres_dsn: str, seed: int) -> None:
    draws = random.Random(seed)
    async with bench(postgres_dsn) as b:
        uploads = UploadLedger(b.ledger)
        of = await ticket(uploads, 4)
        kept: list[int] = []

        async def upload(fails: bool) -> None:
            number = await uploads.take(of)
            if number is None:
                return
            if fails:
                await uploads.give_back(of)
            else:
                kept.append(number)

        await asyncio.gather(*(upload(draws.random() < 0.5) for _ in range(40)))
        while (number := await uploads.take(of)) is not None:
            kept.append(number)
        assert len(kept) == len(set(kept)) == 4
        for _ in range(3):
            await uploads.give_back(of)
        assert await b.sql("select used from upload_tickets where id = $1", of.id) == 1


async def test_an_expired_ticket_takes_nothing(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        uploads = UploadLedger(b.ledger)
        of = await ticket(uploads, 5)
        await b.advance(61)
        assert await uploads.take(of) is None

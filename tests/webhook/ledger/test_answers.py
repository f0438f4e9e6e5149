"""Whether an answer is awaited still: as long as the replica lives that has its request."""

from __future__ import annotations

import asyncio

from tests.webhook.ledger.service_promises import services
from webhook.ledger.answers import AnswerLedger, AnswerPlace
from webhook.ledger.services import REPLICA_SECONDS, Replica

NEW = Replica("new", b"hash of its token", "")


async def test_an_answer_of_a_replica_that_was_just_started_is_awaited(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        answers = AnswerLedger(s.bench.ledger)

        async def state() -> str:
            found = await answers.find("id")
            assert found
            return found.state

        await answers.begin("id", "echo", NEW, AnswerPlace("bucket", "key"), 3_600)
        assert await state() == "pending", "it has given no sign of life so far"
        assert await s.ledger.beat(NEW)
        await s.bench.advance(REPLICA_SECONDS - 1)
        assert await state() == "pending"
        await s.bench.advance(2)
        assert await state() == "lost"
        await answers.begin("another", "echo", NEW, AnswerPlace("bucket", "key"), 3_600)
        assert not await s.ledger.beat(NEW), "what it held is gone, whatever it has begun since"


async def test_a_replica_may_give_its_first_sign_of_life_while_answers_begin(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        answers = AnswerLedger(s.bench.ledger)
        for number in range(150):
            new = Replica(f"new {number}", f"hash of token {number}".encode(), "")
            place = AnswerPlace("bucket", f"key {number}")
            await asyncio.gather(
                answers.begin(f"{number} a", "echo", new, place, 3_600),
                s.ledger.beat(new),
                answers.begin(f"{number} b", "echo", new, place, 3_600),
            )
            assert await s.ledger.beat(new), "it is there"

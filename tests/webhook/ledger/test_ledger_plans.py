"""What is asked all the time reads an index and never the table, at 50,000 rows of which half are done."""

from __future__ import annotations

import itertools

from tests.webhook.ledger.query_plans import MODES, filled, plan, reads, sorts


async def test_a_claim_reads_what_is_due_in_order(postgres_dsn: str) -> None:
    async with filled(postgres_dsn) as (photos, connection):
        for analyzed, mode, lane in itertools.product((False, True), MODES, ("'work'", "'check'")):
            if analyzed:
                await connection.execute("analyze objects")
            for worker, counted in (("null", set[str]()), ("7", {"objects_leased"})):
                nodes = await plan(
                    connection, mode, "claim", f"{photos}", lane, "16", worker, "60", "30", "4", "900", "5"
                )
                read = reads(nodes) - ({"objects_leased"} - counted)  # a plan for any worker counts in any case
                assert read == {"objects_due", "objects_pkey"} | counted, (analyzed, mode, lane, worker)
                assert not sorts(nodes), (analyzed, mode, lane, worker)


async def test_all_that_is_asked_again_and_again_reads_an_index(postgres_dsn: str) -> None:
    async with filled(postgres_dsn) as (photos, connection):
        await connection.execute("analyze objects")
        for mode in MODES:
            asked: list[tuple[set[str], str, *tuple[str, ...]]] = [
                ({"objects_leased"}, "lock_expired", "500"),
                ({"objects_leased"}, "lock_of_worker", "7"),
                ({"objects_pkey"}, "lock_leased", "'{1,2,3}'", "'{1,2,3}'", "'{null,null,null}'"),
                ({"objects_pkey"}, "settle", "1", "'{}'", "'{}'", "'{}'", "''", """'[{"id": 1}, {"id": 2}]'"""),
                ({"objects_pkey"}, "extend", "1", "1", "null", "60", "180", "1"),
                ({"objects_pkey"}, "lease", "1", "1", "null"),
                ({"objects_leased", "objects_due"}, "demand", f"'{{{photos}}}'", "100"),
                ({"objects_due"}, "due", f"'{{{photos}}}', 'work'"),
                ({"objects_due"}, "oldest"),
                ({"objects_parked"}, "parked", "20"),
                ({"objects_leased"}, "machines"),
                ({"objects_leased"}, "machine_page", "null", "null", "null", "null", "100"),
                ({"objects_leased"}, "machine", "1"),
            ]
            for indexes, name, *arguments in asked:
                assert reads(await plan(connection, mode, name, *arguments)) == indexes, (name, mode)

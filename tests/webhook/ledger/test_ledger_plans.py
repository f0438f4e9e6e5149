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


async def test_the_log_of_settled_objects_is_read_by_its_indexes(postgres_dsn: str) -> None:
    async with filled(postgres_dsn) as (photos, connection):
        await connection.execute(
            """insert into settles (position, object_id, pipeline_id, key, state, changed, settled_at)
            select n, n, $1, n || '.jpg', 'done', true, now() from generate_series(1, 50000) as n""",
            photos,
        )
        await connection.execute("analyze settles")
        for mode in MODES:
            for indexes, name, *arguments in (
                ({"settles_position"}, "settles_after", "49000", "200"),
                ({"settles_unnumbered"}, "unnumbered_settles"),
                ({"settles_position"}, "latest_results", "10000", "48"),
            ):
                assert reads(await plan(connection, mode, name, *arguments), "settles") == indexes, (name, mode)


async def test_what_apps_ask_of_objects_reads_the_index_of_keys(postgres_dsn: str) -> None:
    async with filled(postgres_dsn) as (photos, connection):
        await connection.execute("analyze objects")
        for mode in MODES:
            keys = ("'uploads/'", "'uploads/\U0010ffff'", "'uploads/2'", "100")
            assert reads(await plan(connection, mode, "known_object", f"{photos}", "'a.jpg'")) == {
                "objects_pipeline_id_key_key"
            }
            nodes = await plan(connection, mode, "known_objects", f"{photos}", *keys)
            assert reads(nodes) == {"objects_pipeline_id_key_key"}
            assert not sorts(nodes)


async def test_a_search_for_what_is_not_ok_reads_nothing_else(postgres_dsn: str) -> None:
    async with filled(postgres_dsn) as (photos, connection):
        await connection.execute(
            "update objects set done_verdict = case when id % 1000 = 2 then 'review' else 'ok' end::result_verdict"
        )
        await connection.execute("analyze objects")
        for mode in MODES:
            for verdict in ("review", "refused"):
                arguments = (f"{photos}", "''", "''", "null", "null", "null", "20000", "50", f"'{verdict}'")
                nodes = await plan(connection, mode, "object_page_unwanted", *arguments)
                assert reads(nodes) == {"objects_unwanted"}, (verdict, mode)

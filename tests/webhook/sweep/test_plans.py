"""A page of a sweep reads an index and never the table, at 50,000 rows."""

from __future__ import annotations

from tests.webhook.ledger.query_plans import MODES, filled, plan, reads

KEY = "objects_pipeline_id_key_key"
_KEYS = "'{" + ",".join(f"{n:09}" for n in range(20_000, 21_000)) + "}'"


async def test_a_page_reads_an_index(postgres_dsn: str) -> None:
    async with filled(postgres_dsn) as (photos, connection):
        for analyzed in (False, True):
            if analyzed:
                await connection.execute("analyze objects")
            for mode in MODES:
                number = f"{photos}::smallint"
                etags, moments = f"{_KEYS}", "array_fill(now(), array[1000])"
                nodes = await plan(connection, mode, "compare", number, _KEYS, etags, moments, "now()", "30")
                assert reads(nodes) == {KEY}, (analyzed, mode)
                nodes = await plan(
                    connection, mode, "missing", number, "''", "'000020000'", "'000020999'", "now()", _KEYS, "500"
                )
                assert reads(nodes) == {KEY}, (analyzed, mode)
                nodes = await plan(connection, mode, "outputs_known", number, _KEYS, "now()")
                assert reads(nodes) == {KEY}, (analyzed, mode)
                nodes = await plan(connection, mode, "prune_objects", "20000", "1000", "90")
                assert reads(nodes) == {"objects_pkey"}, (analyzed, mode)

from __future__ import annotations

import re
from pathlib import Path

import pytest

import webhook
from tests.webhook.ledger.ledger_bench import bench
from webhook.ledger.queries import QUERIES, parse

SOURCES = Path(webhook.__file__).parent


def test_every_block_of_the_file_is_read() -> None:
    text = (SOURCES / "ledger" / "queries.sql").read_text()
    assert list(QUERIES) == re.findall(r"^-- name: (\w+)$", text, re.MULTILINE)
    assert all(sql.count(";") == 0 for sql in QUERIES.values())


def test_every_statement_is_used() -> None:
    code = "\n".join(path.read_text() for path in SOURCES.rglob("*.py"))
    assert [name for name in QUERIES if f'"{name}"' not in code] == []


@pytest.mark.parametrize("name", QUERIES)
async def test_every_statement_is_one_that_the_database_understands(postgres_dsn: str, name: str) -> None:
    async with bench(postgres_dsn) as b, b.database.connection() as connection:
        await connection.prepare(QUERIES[name])


@pytest.mark.parametrize(
    "text",
    [
        "-- name: a\nselect 1;\n",
        "-- name: a\n-- It is described.\nselect 1\n",
        "-- A comment.\n\n-- name: a\n-- One.\nselect 1;\n\n-- name: b\nselect 2;\n",
        "-- name: a\n-- One.\nselect 1;\n\n-- name: a\n-- The same name.\nselect 2;\n",
        "-- fragment: a\nx = 1;\n\n-- name: b\n-- One.\nselect {{a}};\n",
    ],
)
def test_a_block_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="without a name of its own, a description"):
        parse(text)


_FRAGMENT = "-- fragment: positive\n-- A condition.\nx > 0\n  and x <> 7;\n\n"


def test_a_fragment_stands_in_each_statement_that_names_it() -> None:
    text = f"-- name: a\n-- One.\nselect 1 where {{{{positive}}}};\n\n{_FRAGMENT}"
    assert parse(text) == {"a": "select 1 where x > 0\n  and x <> 7"}


def test_a_statement_may_only_name_a_fragment_of_the_file() -> None:
    with pytest.raises(ValueError, match="no fragment 'negative'"):
        parse("-- name: a\n-- One.\nselect 1 where {{negative}};\n")


def test_a_fragment_that_no_statement_names_is_refused() -> None:
    with pytest.raises(ValueError, match="no statement uses: positive"):
        parse(f"{_FRAGMENT}-- name: a\n-- One.\nselect 1;\n")

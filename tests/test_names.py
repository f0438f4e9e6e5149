"""Names and words: one class name for one thing, no retired vocabulary, and prose that says who does what."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.sources import PACKAGES, PAGES, PRODUCTION, ROOT, PythonFile, prose_of, prose_of_page, sentences, sources

# ── one name, one thing ──────────────────────────────────────────────────────────────────────────────────────────────

DEFINED_TWICE: Mapping[str, str] = {}
"""Class names that more than one module defines, with the reason. An entry that is not needed fails the test."""


def _classes() -> Mapping[str, list[str]]:
    """Where each class is defined, nested ones included."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for source in sources(*PACKAGES):
        for node in source.nodes:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{source.name}:{node.lineno}")
    return places


def test_a_class_name_is_defined_once() -> None:
    repeated = {name: places for name, places in _classes().items() if len(places) > 1}
    unexpected = [f"{name}: {', '.join(places)}" for name, places in repeated.items() if name not in DEFINED_TWICE]
    assert not unexpected, "rename all but one of each:\n" + "\n".join(unexpected)
    assert set(DEFINED_TWICE) <= set(repeated), "defined once now: take it out of DEFINED_TWICE"


# ── retired names ────────────────────────────────────────────────────────────────────────────────────────────────────

RETIRED_MODULES = frozenset(
    {
        "absence", "again", "bench", "darkroom", "desk", "doorbell", "embedded", "excerpts", "excess", "found",
        "guards", "guests", "intake", "lifeline", "outcome", "people", "promises", "redrive", "sandboxed", "scene",
        "selection", "session", "stop", "strays", "tenure", "touched",
    }
)  # fmt: skip
"""Former names of modules, for which the field has better words."""
RETIRED_WORDS = frozenset(
    {"absence", "darkroom", "desk", "doorbell", "guest", "guests", "lifeline", "redriver", "tenure"}
)
"""Words that no class, function or column has in its name. ``redrive`` remains a verb: the operation is called so."""
RETIRED_FUNCTIONS = frozenset({"bury", "hear", "heard", "reign", "say", "said", "speak", "tell", "told", "touch"})
"""Whole names of functions, without leading underscores."""
RETIRED_COLUMNS = frozenset({"again", "again_lane", "touched"})
ALLOWED_NAMES: Mapping[str, str] = {}
"""``path: name`` of a retired name that stays, with the reason."""
BENCHMARKS = ("tests/bench",)
"""Where ``bench`` is the field's word."""


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def _retired(source: PythonFile) -> Iterator[str]:
    for part in source.path.relative_to(ROOT).with_suffix("").parts:
        if part.removeprefix("test_") in RETIRED_MODULES and not source.name.startswith(BENCHMARKS):
            yield part
    for node in source.nodes:
        if (isinstance(node, ast.ClassDef) and _words(node.name) & RETIRED_WORDS) or (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_retired_function(node.name)
        ):
            yield node.name


def _is_retired_function(name: str) -> bool:
    if name.startswith("test_"):
        return False
    return name.strip("_") in RETIRED_FUNCTIONS or bool(_words(name) & RETIRED_WORDS)


def test_no_retired_name_comes_back() -> None:
    used = {f"{source.name}: {name}" for source in sources(*PACKAGES) for name in _retired(source)}
    unexpected = sorted(used - set(ALLOWED_NAMES))
    assert not unexpected, "retired names (docs/glossary.md has the present ones):\n" + "\n".join(unexpected)
    assert set(ALLOWED_NAMES) <= used, "gone: take it out of ALLOWED_NAMES"


def test_no_retired_column_comes_back() -> None:
    queries = (ROOT / "webhook/ledger/queries.sql").read_text(encoding="utf-8")
    code = re.sub(r"--.*", "", queries)
    assert [column for column in sorted(RETIRED_COLUMNS) if re.search(rf"\b{column}\b", code)] == []


# ── prose ────────────────────────────────────────────────────────────────────────────────────────────────────────────

RIDDLE = re.compile(
    r"\b(nobody|somebody|anybody|whoever|whomever|whatever|what is over|of before|that which)\b", re.IGNORECASE
)
"""Words that leave open who does what. Say "the caller", "another worker", "a finished sweep"."""
MOST_RIDDLES = 0.005
"""Share of sentences."""
FEWEST_SENTENCES = 100
"""Below which a share says nothing."""
SHOWN = 15


@dataclass(frozen=True)
class Sentence:
    """One sentence, and where it stands."""

    place: str
    text: str

    @property
    def riddles(self) -> int:
        """How many of its words are riddles."""
        return len(RIDDLE.findall(self.text))


def _of_code(package: str) -> Iterator[Sentence]:
    for source in sources(package):
        for line, text in prose_of(source):
            for sentence in sentences(text):
                yield Sentence(f"{source.name}:{line}", sentence)


def _of_pages() -> Iterator[Sentence]:
    for path in PAGES:
        for sentence in sentences(prose_of_page(path)):
            yield Sentence(path.relative_to(ROOT).as_posix(), sentence)


@pytest.mark.parametrize("part", [*PRODUCTION, "tests", "docs"])
def test_prose_says_who_does_what(part: str) -> None:
    written = list(_of_pages() if part == "docs" else _of_code(part))
    worst = sorted((sentence for sentence in written if sentence.riddles), key=lambda one: -one.riddles)
    share = len(worst) / len(written)
    shown = "\n".join(f"{sentence.place}: {sentence.text}" for sentence in worst[:SHOWN])
    assert len(written) > FEWEST_SENTENCES
    assert share <= MOST_RIDDLES, f"{len(worst)} of {len(written)} sentences ({share:.1%}) are riddles:\n{shown}"

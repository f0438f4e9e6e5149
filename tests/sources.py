"""The project's own files as syntax trees and prose, for tests of names, words and layout."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PRODUCTION = ("webhook", "workers", "infra", "yurt")
EXAMPLES = "examples"
PACKAGES = (*PRODUCTION, EXAMPLES, "tests")
PAGES = sorted(path for glob in ("*.md", "docs/**/*.md", "examples/**/*.md") for path in ROOT.glob(glob))

_FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_BREAK = re.compile(r"(?<=[.!?:])[\"')*]*\s+(?=[\"'(`*A-Z0-9])|\n\s*\n|\n\s*(?:[-*|>]|\d+\.|#+)\s|\s\|\s")


@dataclass(frozen=True)
class PythonFile:
    """One Python file."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Its path from the root."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def module(self) -> str:
        """Its dotted name."""
        return self.name.removesuffix(".py").replace("/", ".")

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return _parsed(self.text)

    @property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of its syntax tree."""
        return _nodes_of(self.text)


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def _nodes_of(text: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(_parsed(text)))


@cache
def sources(*packages: str) -> tuple[PythonFile, ...]:
    """All Python files of the packages."""
    paths = sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))
    return tuple(PythonFile(path, path.read_text(encoding="utf-8")) for path in paths)


def sentences(text: str) -> Iterator[str]:
    """Split prose into sentences; list items, headings and cells of tables count as one each."""
    for part in _BREAK.split(text):
        sentence = " ".join(part.split())
        if re.search(r"[a-z]{2}", sentence):
            yield sentence


def prose_of(source: PythonFile) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring and of each block of comments."""
    for node in source.nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    yield from _comments(source.text)


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Consecutive lines of comments are one text."""
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if block and line != last + 1:
            yield first, "\n".join(block)
            block = []
        if not block:
            first = line
        block.append(token.string.lstrip("# "))
        last = line
    if block:
        yield first, "\n".join(block)


def prose_of_page(path: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))

"""The command line that makes a container of any image with Python a worker's."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

_TEXT = Path(__file__).with_name("start.py")
_OF_TYPES = ("__future__", "typing")


@functools.cache
def start_command() -> tuple[str, ...]:
    """Return the command, its program first: the same for all machines. It holds no secret.

    The text of `webhook.bootstrap.start` without docstrings and types: providers bound a command's length, and an old
    Python has to read it.
    """
    tree = _Shortened().visit(ast.parse(_TEXT.read_text(encoding="utf-8")))
    return ("python3", "-c", ast.unparse(ast.fix_missing_locations(tree)))


class _Shortened(ast.NodeTransformer):
    """Leaves out docstrings and types."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module in _OF_TYPES else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return ast.Assign([node.target], node.value)

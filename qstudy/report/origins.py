"""Which module of qstudy/experiments/ makes a table or a figure, read from the sources.

The ledger of claims is the one table that no experiment makes.

A figure is made where its name stands in a call, a table where its file name is put
into a mapping; where the file name is computed, in the module of its chapter that
computes it. Parses the files and imports none, so that a page can ask.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LEDGER = {"claims.csv": "qstudy.claims.entries"}
EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


def module_of(file: str) -> str:
    """The dotted name of the module that makes `file`, "NAME.csv" or a figure's NAME.

    Empty where no module says so.
    """
    if file in LEDGER:
        return LEDGER[file]
    makers, computing = _makers()
    chapter = file.split("_")[0]
    guesses = [m for m in computing if chapter in m] if file.endswith(".csv") else []
    return makers.get(file) or "".join(guesses[:1])


@cache
def _makers() -> tuple[dict[str, str], list[str]]:
    """Module by table or figure, and the modules that compute names of tables."""
    makers: dict[str, str] = {}
    computing = []
    # Numbers and figures read tables by name: a module that makes them comes first.
    paths = sorted(EXPERIMENTS.rglob("*.py"), key=lambda p: ("table" not in p.stem, p))
    for path in paths:
        parts = path.relative_to(EXPERIMENTS.parents[1]).with_suffix("").parts
        module = ".".join(p for p in parts if p != "__init__")
        parsed = ast.parse(path.read_text(encoding="utf-8"))
        for name in _made(parsed):
            makers.setdefault(name, module)
        if any(map(_computes_a_table, ast.walk(parsed))):
            computing.append(module)
    return makers, computing


def _computes_a_table(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr(values=[*_, ast.Constant(value=str() as end)]):
            return end.endswith(".csv")
    return False


def _made(tree: ast.Module) -> Iterator[str]:
    """Tables that a module puts into a mapping, and names that it gives to a call."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(str() as name))]):
                if name.endswith(".csv"):
                    yield name
            case ast.Dict(keys=keys, values=values) if _holds_tables(keys, values):
                yield from _tables(keys)
                yield from _tables(values)
            case ast.Call(args=arguments, keywords=keywords):
                for given in (*arguments, *(k.value for k in keywords)):
                    if isinstance(given, ast.Constant) and isinstance(given.value, str):
                        yield given.value


def _tables(nodes: list[ast.expr | None]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Tuple) and node.elts:
            node = node.elts[0]
        if isinstance(node, ast.Constant) and str(node.value).endswith(".csv"):
            yield str(node.value)


def _holds_tables(keys: list[ast.expr | None], values: list[ast.expr]) -> bool:
    """A mapping to frames; one from tables to functions belongs to the numbers."""
    named = list(_tables(values))
    if named:
        return True
    return any(_tables(keys)) and not all(isinstance(v, ast.Name) for v in values)

"""The lines of one function on a page, as its module's file has them.

Read from the file: a chapter shows the study's own code and imports none of it.
"""

from __future__ import annotations

import ast
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Listing:
    """The `code` of the function `name`, as a notebook displays it."""

    name: str
    code: str

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> dict[str, str]:
        told = f"# {self.name}\n{self.code}"
        return {"text/markdown": f"```python\n{told}\n```", "text/plain": told}


def listing(name: str) -> Listing:
    """A function or method by its name below qstudy, without docstring or indentation.

    As in "numerics.lsq._LearnedStep.backward". Raises ValueError, in one line, for a
    name that no module of the package has.
    """
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        path = _ROOT.joinpath(*parts[:cut]).with_suffix(".py")
        if path.is_file():
            source = path.read_text(encoding="utf-8")
            found = _find(ast.parse(source), parts[cut:])
            if found is not None:
                return Listing(f"qstudy.{name}", _lines(source, found))
    raise ValueError(
        f"{name!r} is no function of qstudy: give its module and its name, as in "
        "'numerics.lsq.fake_quantize'"
    )


def _find(tree: ast.AST, names: list[str]) -> ast.FunctionDef | None:
    for node in ast.iter_child_nodes(tree):
        if getattr(node, "name", None) != names[0]:
            continue
        if len(names) > 1:
            return _find(node, names[1:])
        return node if isinstance(node, ast.FunctionDef) else None
    return None


def _lines(source: str, function: ast.FunctionDef) -> str:
    first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    lines = source.splitlines()
    kept = list(range(first - 1, function.end_lineno or first))
    if ast.get_docstring(function) is not None:
        said = function.body[0]
        kept = [
            n for n in kept if not said.lineno - 1 <= n <= (said.end_lineno or 0) - 1
        ]
    return textwrap.dedent("\n".join(lines[n] for n in kept))

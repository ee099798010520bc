"""ruff agrees with code, tests and notebooks, and every public thing is explained."""

import ast
import subprocess
import sys

import pytest

from tests.repo.checkout import ROOT, files, text

MODULES = sorted((ROOT / "qstudy").rglob("*.py"))


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff(command):
    folders = [f for f in ("qstudy", "tests", "chapters") if (ROOT / f).is_dir()]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "-q", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def undocumented(source: str) -> list[str]:
    """The public module, functions and classes of `source` without a docstring."""
    tree = ast.parse(source)
    missing = [] if not tree.body or ast.get_docstring(tree) else ["(module)"]
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    for node in tree.body:
        public = isinstance(node, kinds) and not node.name.startswith("_")
        if public and not ast.get_docstring(node):
            missing.append(node.name)
    return missing


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_public_names_have_docstrings(path):
    assert undocumented(path.read_text(encoding="utf-8")) == []


def test_undocumented_names_are_found():
    assert undocumented("") == []
    assert undocumented("x = 1\ndef f(): ...\ndef _g(): ...\nclass C: ...\n") == [
        "(module)",
        "f",
        "C",
    ]


def test_nothing_is_left_unfinished():
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    found = [
        (path, mark)
        for path in files()
        if path.suffix in (".py", ".ipynb", ".md") and path.parts[0] != "results"
        for mark in marks
        if mark in text(path)
    ]
    assert found == []

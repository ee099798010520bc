"""Imports point down the floors of qstudy/README.md, and reading needs no torch."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repo.checkout import ROOT, text

# The higher may import the lower. The package itself and its command sit on top.
FLOORS = {"spec": 0, "methods": 2, "experiments": 3, "claims": 4, "study": 5}
FLOORS |= {"": 6, "__main__": 6}
GROUND = ("numerics", "measure", "data", "report", "models", "training")
FLOORS |= dict.fromkeys(GROUND, 1)

MODULES = sorted((ROOT / "qstudy").rglob("*.py"))


def room(module: str) -> str:
    """The room of a module by its dotted name: "qstudy.study.cli" is in "study"."""
    return [*module.split("."), ""][1]


def name_of(path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, package: str) -> set[str]:
    """Dotted names that `source`, a module in `package`, imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(above) if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            rooms = {a.name for a in node.names} & set(FLOORS) - {""}
            if base == "qstudy" and rooms:
                found |= {f"qstudy.{name}" for name in rooms}
            else:
                found.add(base)
    return found


def breaches(source: str, module: str, package: str) -> list[str]:
    """What `module` imports of qstudy and must not."""
    here = room(module)
    documented = ast.get_docstring(ast.parse(source)) or ""
    wrong = []
    for name in sorted(imports(source, package)):
        there = room(name)
        if name.split(".")[0] != "qstudy" or there == here:
            continue
        neighbours = here in GROUND and there in GROUND and here != "numerics"
        told = neighbours and f"qstudy.{there}" in documented
        upward = FLOORS[there] >= FLOORS[here] and not told
        if upward or here == "numerics":
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    module = name_of(path)
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    assert room(module) in FLOORS, f"{module} is in no room of qstudy/README.md"
    assert breaches(path.read_text(encoding="utf-8"), module, package) == []


@pytest.mark.parametrize(
    ("source", "module", "wrong"),
    [
        ("from qstudy.study import tree", "qstudy.report.tables", ["qstudy.study"]),
        ("import qstudy.methods.qat", "qstudy.experiments.qat", []),
        ("import qstudy.experiments.qat", "qstudy.methods.qat", ["qstudy."]),
        ("def f():\n    from qstudy import study", "qstudy.data.x", ["qstudy.study"]),
        ("from qstudy import chapter", "qstudy.experiments.x", ["qstudy"]),
        ("from qstudy import data", "qstudy.models.zoo", ["qstudy.data"]),
        ('"""Uses qstudy.data."""\nimport qstudy.data', "qstudy.models.zoo", []),
        ('"""Uses qstudy.data."""\nimport qstudy.data', "qstudy.numerics.x", ["q"]),
        ("import qstudy.spec", "qstudy.numerics.mapping", ["qstudy.spec"]),
        ("from ..study import cli", "qstudy.numerics.mapping", ["qstudy.study"]),
        ("from . import rounding", "qstudy.numerics.mapping", []),
        ("import qstudy.data", "qstudy.spec", ["qstudy.data"]),
    ],
)
def test_breaches_are_found(source, module, wrong):
    found = breaches(source, module, module.rpartition(".")[0])
    assert len(found) == len(wrong)
    assert all(f.startswith(w) for f, w in zip(found, wrong, strict=True))


@cache
def declared() -> set[str]:
    """Canonical names of everything that pyproject asks for."""
    project = tomllib.loads(text("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(r for extra in extras.values() for r in extra),
    ]
    return {canonicalize_name(Requirement(r).name) for r in wanted}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_third_party_imports_are_declared(path):
    module = name_of(path)
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    tops = {n.split(".")[0] for n in imports(path.read_text("utf-8"), package)}
    known = packages_distributions()
    missing = {
        top
        for top in tops - set(sys.stdlib_module_names) - {"qstudy"}
        if not {canonicalize_name(d) for d in known.get(top, ())} & declared()
    }
    assert missing == set(), "add to pyproject.toml and requirements.lock"


@pytest.mark.parametrize(
    "module",
    [
        "qstudy",
        "qstudy.spec",
        "qstudy.experiments",
        "qstudy.study.tree",
        "qstudy.report",
        "qstudy.claims.entries",
        "qstudy.claims.pages",
        *sorted(name_of(p) for p in (ROOT / "qstudy" / "report").glob("[a-z]*.py")),
    ],
)
def test_reading_imports_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode() or f"{module} imports torch"


def test_accuracy_is_computed_in_one_place():
    """Predictions and what is right come from measure.accuracy, ties and all."""
    wrong = re.compile(r"predict\w*\(.*\)\.argmax|== labels|\(predict\w* == ")
    for path in sorted((ROOT / "qstudy" / "experiments").rglob("*.py")):
        found = wrong.findall(path.read_text(encoding="utf-8"))
        assert not found, f"{path.name}: {found}"

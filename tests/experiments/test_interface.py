"""Every chapter's package keeps the interface and the layout that its peers have."""

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

from qstudy import experiments
from qstudy.spec import Experiment

ROOMS = {"grid", "tasks", "tables", "figures", "numbers"}
# Measurement may not know how it is shown.
PRESENTATION = ("tables", "figures", "numbers", "report", "matplotlib")
EACH = pytest.mark.parametrize("experiment", experiments.ALL, ids=experiments.NAMES)


@EACH
def test_it_offers_every_member_that_the_study_calls(experiment: ModuleType):
    for name, kind in inspect.get_annotations(Experiment, eval_str=True).items():
        value = getattr(experiment, name)
        assert isinstance(value, getattr(kind, "__origin__", kind)), name
    kept = any("recipe" in s.params for s in experiment.grid("smoke"))
    assert kept == (experiment.TRAINED is not None)
    for name, function in inspect.getmembers(Experiment, inspect.isfunction):
        if name.startswith("_"):
            continue
        wanted = [p for p in inspect.signature(function).parameters if p != "self"]
        assert list(inspect.signature(getattr(experiment, name)).parameters) == wanted


def test_the_interface_names_every_member_that_the_study_calls():
    """Attributes of `experiment` in qstudy.study and qstudy.experiments."""
    root = Path(experiments.__file__).parents[1]
    called = set()
    for path in [*(root / "study").glob("*.py"), root / "experiments" / "__init__.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id="experiment" | "each")):
                    called.add(node.attr)
                case ast.Attribute(value=ast.Call(func=ast.Attribute(attr="by_name"))):
                    called.add(node.attr)
                case ast.Attribute(value=ast.Call(func=ast.Name(id="by_name"))):
                    called.add(node.attr)
    offered = set(inspect.get_annotations(Experiment)) | {
        name for name, _ in inspect.getmembers(Experiment, inspect.isfunction)
    }
    assert "NAME" in called
    assert called <= offered


@EACH
def test_its_modules_are_the_rooms_or_named_after_one(experiment: ModuleType):
    folder = Path(experiment.__file__).parent
    named = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    # Configuration that several rooms read, and what is declared of networks kept.
    own = {"recipe", "forms", "inputs", "trained"}
    assert named >= ROOMS
    assert {name for name in named if name.partition("_")[0] not in ROOMS} <= own


@EACH
def test_measurement_imports_no_presentation(experiment: ModuleType):
    folder = Path(experiment.__file__).parent
    measuring = [*folder.glob("tasks*.py"), folder / "grid.py"]
    for path in measuring:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                parts = [part.partition("_")[0] for part in name.split(".")]
                assert not set(parts) & set(PRESENTATION), f"{path.name}: {name}"

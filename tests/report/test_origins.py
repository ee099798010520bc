"""Every published table and figure leads to the module that makes it."""

import pytest

from qstudy import experiments
from qstudy.claims import entries
from qstudy.report import origins
from qstudy.study.tree import repository

RESULTS = repository() / "results"
TABLES = sorted(path.name for path in (RESULTS / "tables").glob("*.csv"))
FIGURES = sorted(path.stem for path in (RESULTS / "figures").glob("*.svg"))


@pytest.mark.parametrize("name", [t for t in TABLES + FIGURES if t != "claims.csv"])
def test_the_module_exists_and_is_of_one_chapter(name):
    module = origins.module_of(name)
    parts = module.split(".")
    assert parts[:2] == ["qstudy", "experiments"]
    places = [
        repository().joinpath(*parts).with_suffix(".py"),
        repository().joinpath(*parts, "__init__.py"),
    ]
    (path,) = [place for place in places if place.exists()]
    assert parts[2].split("_")[0] in experiments.NAMES
    assert parts[-1] != "numbers", "numbers read tables, and make none"
    # Its file name stands there whole, or its end where the chapter's name is computed.
    source = path.read_text(encoding="utf-8")
    assert f'"{name}"' in source or '.csv"' in source


def test_tables_and_figures_of_one_name_are_told_apart():
    for name in {path.removesuffix(".csv") for path in TABLES} & set(FIGURES):
        assert origins.module_of(name) and origins.module_of(f"{name}.csv")


def test_what_nobody_makes_has_no_module():
    assert origins.module_of("nothing_of_the_kind.csv") == ""
    assert origins.module_of("nothing_of_the_kind") == ""


def test_the_ledger_is_of_no_chapter():
    assert "claims.csv" in TABLES
    assert origins.module_of("claims.csv") == entries.__name__
    assert entries.FILE == "claims.csv"

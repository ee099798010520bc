"""What the status page says of a results tree."""

import json
import shutil

import pandas as pd
import pytest

from qstudy import experiments
from qstudy.report.tables import write_csv
from qstudy.study import status
from qstudy.study.tree import repository

RESULTS = repository() / "results"


@pytest.fixture
def tree(tmp_path):
    """One published run of each experiment and the tables that name it."""
    (tmp_path / "systems").mkdir()
    for name in experiments.NAMES:
        version = experiments.by_name(name).VERSION
        path = next(
            (
                p
                for p in sorted((RESULTS / "runs" / name).glob("*.json"))
                if json.loads(p.read_bytes())["spec"]["version"] == version
            ),
            None,
        )
        if path is None:  # nothing of this chapter is published yet
            continue
        target = tmp_path / "runs" / name / path.name
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
        if path.with_suffix(".npz").exists():
            shutil.copy(path.with_suffix(".npz"), target.parent)
    for path in (RESULTS / "systems").glob("*.json"):
        shutil.copy(path, tmp_path / "systems")
    return tmp_path


def key_of(tree, name):
    return next((tree / "runs" / name).glob("*.json")).stem


def told(tree):
    records = status.Records(tree, tree)
    return {s.file: s for s in status.files(records, tree)}


def test_a_file_is_told_by_the_runs_it_names(tree):
    key = key_of(tree, "static")
    write_csv(pd.DataFrame({"run": [key, key]}), tree / "tables" / "static.csv")
    found = told(tree)["tables/static.csv"]
    assert (found.experiment, found.runs, found.stale) == ("static", 1, "")
    assert found.module.startswith("qstudy.experiments.static")
    assert len(found.machines) == 1


def test_a_run_without_a_record_is_told(tree):
    write_csv(pd.DataFrame({"run": ["f" * 64]}), tree / "tables" / "static.csv")
    assert told(tree)["tables/static.csv"].stale == "1 runs without a record"


def test_a_run_of_another_version_or_off_the_grid_is_stale(tree, monkeypatch):
    key = key_of(tree, "static")
    write_csv(pd.DataFrame({"run": [key]}), tree / "tables" / "static.csv")
    static = experiments.by_name("static")
    monkeypatch.setattr(static, "VERSION", static.VERSION + 1)
    assert "now" in told(tree)["tables/static.csv"].stale
    monkeypatch.undo()
    monkeypatch.setattr(status, "_planned", lambda name: frozenset())
    assert "no longer name" in told(tree)["tables/static.csv"].stale


def test_days_are_printed_once_and_only_where_git_knows_the_commit(monkeypatch):
    days = {"a": "2026-11-24", "b": "2026-11-26", "c": "2026-12-01", "unknown": ""}
    monkeypatch.setattr(status, "_day", days.get)
    assert status._dates(["a", "a", "unknown"]) == "2026-11-24"
    assert status._dates(["b", "a"]) == "2026-11-24 to 26"
    assert status._dates(["c", "a"]) == "2026-11-24 to 2026-12-01"
    assert status._dates(["unknown"]) == ""


def test_git_is_asked_for_the_day_of_a_commit():
    assert status._day("unknown") == ""


def test_systems_count_their_runs(tree):
    records = status.Records(tree, tree)
    found = status.systems(records)
    assert (
        sum(counts.total() for _, _, counts in found)
        == len([*tree.glob("runs/*/*.json")])
        > 1
    )
    lines = status._systems_table(records, tree)
    assert lines[0].startswith("|  | A: `") and any("Processor" in x for x in lines)

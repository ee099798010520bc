"""The committed results: collect reproduces every derived file byte for byte."""

import re
import shutil

import pytest

from qstudy import experiments
from qstudy.claims.ledger import NOT_MEASURED, NOT_TESTABLE
from qstudy.experiments.static.grid_sweeps import APART, SWEEPS
from qstudy.report import numbers
from qstudy.study import ahead, notebooks, plan
from qstudy.study.collect import collect
from qstudy.study.store import Store, checkpoint_of
from qstudy.study.tree import repository

RESULTS = repository() / "results"


def derived(root):
    folders = [root / "tables", root / "figures", root / "cards"]
    files = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    return {
        p.relative_to(root).as_posix(): p.read_bytes()
        for p in [*files, root / "numbers.json", root / numbers.UNQUOTED]
    }


def test_collect_reproduces_the_derived_files_byte_for_byte(tmp_path):
    tree = tmp_path / "results"
    for folder in ("runs", "systems", "checkpoints", "agreement"):
        if (RESULTS / folder).exists():
            shutil.copytree(RESULTS / folder, tree / folder)
    collect(tree, origin="published")
    again, committed = derived(tree), derived(RESULTS)
    assert sorted(again) == sorted(committed)
    for name, content in committed.items():
        assert again[name] == content, name


def test_readme_holds_the_published_numbers():
    text = (repository() / "README.md").read_text(encoding="utf-8")
    assert numbers.rewrite_markers(text, numbers.load(RESULTS)) == text
    assert "<!-- q:" in text


@pytest.mark.parametrize("experiment", experiments.ALL, ids=experiments.NAMES)
def test_the_full_grid_is_published_and_nothing_else(experiment):
    keys = {spec.key for spec in experiment.grid("full")}
    records = Store(RESULTS).records(experiment.NAME, experiment.VERSION)
    assert {r.spec.key for r in records} == keys
    assert {spec.key for spec in experiment.grid("quick")} <= keys


def test_every_checkpoint_is_what_its_record_says():
    store = Store(RESULTS)
    made = [
        store.checkpoint(record)
        for experiment in experiments.ALL
        for record in store.records(experiment.NAME, experiment.VERSION)
        if checkpoint_of(record)
    ]
    assert sorted(made) == sorted((RESULTS / "checkpoints").iterdir())


def test_every_experiment_with_a_notebook_is_a_chapter():
    chapters = {"dynamic", "formulas", "fusion", "lsq", "qat", "speed", "static"}
    assert set(notebooks.chapters()) & set(experiments.NAMES) == chapters


def test_every_number_names_the_runs_behind_it():
    known = {path.stem for path in (RESULTS / "runs").glob("*/*.json")}
    for key, number in numbers.load(RESULTS).items():
        # A goal was set before anything ran; agreement and counts are of whole trees;
        # and what was not measured or cannot be tested has no runs.
        apart = key.endswith(".goal") or key.startswith(("agreement.", "ledger.count"))
        if not apart and number.value not in (NOT_MEASURED, NOT_TESTABLE, "–"):
            assert number.runs and set(number.runs) <= known, key


def test_a_comparison_names_both_runs():
    compared = re.compile(r"(static|dynamic)\..*\.(drop|rise|cosine|rank|size_ratio)$")
    names = [key for key in numbers.load(RESULTS) if compared.match(key)]
    assert len(names) >= 10
    for key in names:
        experiment = key.partition(".")[0]
        runs = numbers.load(RESULTS)[key].runs
        if len(runs) == 1:  # a sweep scores fp32 beside its conditions
            swept = Store(RESULTS).by_key(experiment, runs[0])
            assert swept.spec.params["task"] in (*SWEEPS, *APART), key
            assert "top1.fp32" in swept.values, key
            continue
        first, second = runs
        base = Store(RESULTS).by_key(experiment, first).spec.params
        other = Store(RESULTS).by_key(experiment, second).spec.params
        how = "how" if experiment == "dynamic" else "method"
        assert base[how] == "fp32" != other[how], key
        assert base["model"] == other["model"], key


def test_quick_mode_fits_its_budget_by_the_recorded_seconds(tmp_path):
    """Ten minutes for all chapters, less a minute and a half for notebooks and book.

    By the recorded seconds; what is not timed is computed two at a time.
    """
    names = [n for n in notebooks.chapters() if n in experiments.NAMES]
    specs = [spec for name in names for spec in experiments.grid(name, "quick")]
    steps = plan.plan(specs, work=Store(tmp_path), results=Store(RESULTS))
    assert len(steps) == len(specs) and all(step.seconds for step in steps)
    paired = {step.spec.key for step in ahead.two_at_a_time(steps)}
    alone = sum(step.seconds for step in steps if step.spec.key not in paired)
    rest = sum(step.seconds for step in steps if step.spec.key in paired)
    assert 0 < alone + rest / ahead.AT_ONCE < 600 - 90

"""What stands behind a number is read from the records of its runs."""

import json

from qstudy.report import provenance
from qstudy.report.numbers import load
from qstudy.spec import Number
from qstudy.study.tree import repository

RESULTS = repository() / "results"


def record(tree, key, *, experiment="toy", system="m", torch="2.0"):
    path = tree / "runs" / experiment / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"spec": {"experiment": experiment}, "system": system}
    path.write_text(json.dumps({**told, "versions": {"torch": torch}}))
    (tree / "systems").mkdir(exist_ok=True)
    (tree / "systems" / f"{system}.json").write_text(
        json.dumps({"label": f"machine {system} of {tree.name}"})
    )


def test_rows_name_value_interval_n_machine_run_and_command(tmp_path):
    key = "a" * 64
    record(tmp_path, key)
    number = Number(0.05, "pp", low=-0.07, high=0.17, n=10000, runs=(key,))
    told = dict(provenance.rows("toy.drop", number, provenance.Runs(tmp_path)))
    assert told == {
        "key": "toy.drop",
        "value": "0.05 pp",
        "interval": "[-0.07, 0.17] (95 %)",
        "n": "10,000",
        "machine": f"machine m of {tmp_path.name}",
        "PyTorch": "2.0",
        "run": "a" * 12,
        "repeat": f"qstudy run --only {'a' * 12}",
    }


def test_many_runs_are_repeated_by_their_experiment(tmp_path):
    keys = tuple(c * 64 for c in "abcd")
    for key in keys:
        record(tmp_path, key)
    told = provenance.rows("k", Number(1.0, runs=keys), provenance.Runs(tmp_path))
    assert ("repeat", "qstudy run --mode full --experiment toy") in told
    assert told[-2] == ("runs", f"{'a' * 12}, {'b' * 12}, {'c' * 12} and 1 more")


def test_the_first_tree_that_has_a_run_is_asked(tmp_path):
    key = "b" * 64
    record(tmp_path / "published", key)
    runs = provenance.Runs(tmp_path / "work", tmp_path / "published")
    assert runs.get(key).machine == "machine m of published"
    record(tmp_path / "work", key)
    runs = provenance.Runs(tmp_path / "work", tmp_path / "published")
    assert runs.get(key).machine == "machine m of work"
    assert runs.get("c" * 64) is None


def test_every_published_number_leads_to_its_runs():
    runs = provenance.Runs(RESULTS)
    lost = [
        (key, run)
        for key, number in load(RESULTS).items()
        for run in number.runs
        if runs.get(run) is None
    ]
    assert lost == []

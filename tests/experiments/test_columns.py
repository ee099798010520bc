"""An interval is one shape: statistics, record, columns, number."""

import pandas as pd

from qstudy.experiments import columns
from qstudy.measure.statistics import Interval
from qstudy.report import tables
from qstudy.spec import Number, Value

DROP = Interval(0.5, -0.1, 1.1, 100)
ROW = {"n": 100, **columns.interval("drop_pp", DROP), "run": "b", "baseline_run": "a"}


def test_statistics_and_records_give_the_same_columns():
    expected = {"drop_pp": 0.5, "drop_lo": -0.1, "drop_hi": 1.1}
    assert columns.interval("drop_pp", DROP) == expected
    stored = Value(0.5, "pp", "isa", -0.1, 1.1)
    assert columns.interval("drop_pp", stored) == expected
    assert columns.interval("ms", None) == {"ms": None, "ms_lo": None, "ms_hi": None}


def test_columns_come_back_as_the_number_with_both_runs():
    frame = pd.DataFrame([ROW])
    wanted = Number(0.5, "pp", 2, -0.1, 1.1, 100, ("a", "b"))
    for row in (frame.iloc[0], next(frame.itertuples())):
        assert columns.number(row, "drop_pp", "pp", compared=True) == wanted
        assert columns.number(row, "drop_pp", "pp").runs == ("b",)


def test_they_survive_the_file(tmp_path):
    alone = {**ROW, **columns.interval("drop_pp", None), "baseline_run": None}
    tables.write_csv(pd.DataFrame([ROW, alone | {"run": "123"}]), tmp_path / "t.csv")
    first, second = tables.read_csv(tmp_path / "t.csv").itertuples()
    found = columns.number(first, "drop_pp", "pp", compared=True)
    assert found == Number(0.5, "pp", 2, -0.1, 1.1, 100, ("a", "b"))
    assert columns.runs(second, compared=True) == ("123",)


def test_a_frame_names_all_its_runs_once():
    frame = pd.DataFrame([ROW, ROW, {**ROW, "run": "c", "baseline_run": None}])
    assert columns.runs(frame) == ("b", "c")
    assert columns.runs(frame, compared=True) == ("a", "b", "c")


def test_a_value_without_interval_has_none():
    row = pd.Series({"size_mib": 2.0, "run": "a"})
    assert columns.number(row, "size_mib", "MiB", 1) == Number(
        2.0, "MiB", 1, runs=("a",)
    )

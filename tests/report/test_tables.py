"""CSV bytes, round trips, and tables of the page."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qstudy.report import tables

FRAME = pd.DataFrame(
    {
        "method": ["fp32", "static_int8", "none"],
        "top1": [91.2, 91.15, math.nan],
        "drop_pp": [math.nan, 0.05, -0.00001],
        "drop_lo": [math.nan, -0.07, -0.1],
        "drop_hi": [math.nan, 0.17, 0.1],
        "parameters": [272474, 272474, 10_000_000],
        "error": [1.5e-7, 2.0, 1 / 3],
        "fits": [True, False, True],
        "run": ["0123", "12e4", None],
    }
)
SHOWN = {"caption": "c", "name": "t", "csv": "t.csv"}


def test_csv_bytes_are_fixed(tmp_path):
    tables.write_csv(FRAME, tmp_path / "deep" / "t.csv")
    assert (tmp_path / "deep" / "t.csv").read_bytes() == (
        b"method,top1,drop_pp,drop_lo,drop_hi,parameters,error,fits,run\n"
        b"fp32,91.2000,,,,272474,1.5e-07,True,0123\n"
        b"static_int8,91.1500,0.0500,-0.0700,0.1700,272474,2,False,12e4\n"
        b"none,,0.0000,-0.1000,0.1000,10000000,0.333333,True,\n"
    )


def test_the_last_bit_and_the_dtype_do_not_show(tmp_path):
    """0.1 + 0.2 against 0.3, an integer column that a gap has made float."""
    for name, top1, n in (("a", 0.1 + 0.2, [512, 64]), ("b", 0.3, [512.0, 64.0])):
        frame = pd.DataFrame({"top1": [top1] * 2, "x": [top1] * 2, "n": n})
        tables.write_csv(frame, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_strings_come_back_as_they_were_written(tmp_path):
    tables.write_csv(FRAME, tmp_path / "t.csv")
    back = tables.read_csv(tmp_path / "t.csv")
    assert list(back.method) == ["fp32", "static_int8", "none"]
    assert list(back.run[:2]) == ["0123", "12e4"]
    assert list(back.fits) == [True, False, True]
    assert back.top1.isna().tolist() == [False, False, True]


@given(
    st.lists(
        st.tuples(
            st.floats(-1e6, 1e6),
            st.integers(-(2**40), 2**40),
            st.sampled_from(["NA", "none", "null", "nan", "a,b", 'say "hi"', "양자화"]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_written_twice_gives_the_same_bytes(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("csv")
    frame = pd.DataFrame(rows, columns=["ms", "count", "text"])
    tables.write_csv(frame, folder / "a.csv")
    back = tables.read_csv(folder / "a.csv")
    tables.write_csv(back, folder / "b.csv")
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()
    assert list(back["text"]) == list(frame["text"])
    assert np.allclose(back.ms, frame.ms, rtol=0, atol=0.5001e-4)
    assert list(back["count"]) == list(frame["count"])


def test_numpy_values_are_written_like_python_values():
    assert tables._cell(np.float32(0.5), None) == "0.5"
    assert tables._cell(np.int64(3), 2) == "3"
    assert tables._cell(np.bool_(True), None) == "True"
    assert tables._cell(-0.004, 2) == "0.00"


def test_a_page_table_prints_units_intervals_labels_and_best():
    table = tables.show(
        FRAME,
        columns=["method", "top1", "drop_pp", "parameters", "error"],
        best={"top1": "max"},
        **SHOWN,
    )
    assert table.markdown.splitlines() == [
        "| Method | Top-1 [%] | Drop [pp] | Parameters | Error |",
        "| :--- | ---: | ---: | ---: | ---: |",
        "| fp32 | **91.20** | – | 272,474 | 1.5e-07 |",
        "| static int8 | 91.15 | 0.05 [-0.07, 0.17] | 272,474 | 2 |",
        "| none | – | 0.00 [-0.10, 0.10] | 10,000,000 | 0.333 |",
    ]
    data, told = table._repr_mimebundle_()
    assert list(data) == ["text/markdown", "text/plain"]
    assert told == {
        "text/markdown": {"name": "t", "caption": "c", "csv": "tables/t.csv"}
    }
    assert "0.05 [-0.07, 0.17]" in data["text/plain"] and "**" not in data["text/plain"]


def test_headers_and_digits_may_be_given_and_bars_are_escaped():
    frame = pd.DataFrame({"a": ["x|y"], "ms": [1.23456]})
    table = tables.show(
        frame, columns={"a": "A", "ms": "Time [s]"}, digits={"ms": 1}, **SHOWN
    )
    assert table.markdown.splitlines()[0] == "| A | Time [s] |"
    assert table.markdown.splitlines()[2] == r"| x\|y | 1.2 |"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": list(FRAME.columns)}, "has 9 columns: a page takes 1 to 7"),
        ({"columns": ["method", "tpo1"]}, r"columns \['tpo1'\] are not among"),
        ({"columns": ["top1"], "best": {"top1": "most"}}, "needs a shown column"),
        ({"columns": ["top1"], "best": {"error": "min"}}, "needs a shown column"),
        ({"columns": {"top1": "A", "method": "A"}}, "repeats a header"),
    ],
)
def test_a_wrong_call_says_so_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as raised:
        tables.show(FRAME, **options, **SHOWN)
    assert "\n" not in str(raised.value)


def same(rows, **columns):
    frame = pd.DataFrame({"model": ["resnet20"] * rows, "differing": [0] * rows})
    frame["seed"] = range(rows)
    return tables.show(
        frame.assign(**columns),
        columns=["model", "seed", "differing"],
        caption="None differs.",
        name="tab-t",
        csv="t.csv",
    )


def test_a_setting_that_all_rows_repeat_is_told_once():
    table = same(4)
    assert table.markdown.splitlines()[0] == "| Seed | Differing |"
    assert table.caption == "None differs. In all rows: Network resnet20."
    # A result stays, though all rows have the same; so does what a few rows repeat.
    assert same(3).markdown.splitlines()[0] == "| Network | Seed | Differing |"
    assert same(3).caption == "None differs."
    assert "Network" in same(4, model=["a", "a", "a", "b"]).markdown


def test_a_table_of_nothing_but_the_same_settings_stays_whole():
    frame = pd.DataFrame({"model": ["resnet20"] * 4, "seed": [0] * 4})
    table = tables.show(
        frame, columns=["model", "seed"], caption="All.", name="tab-t", csv="t.csv"
    )
    assert table.markdown.splitlines()[0] == "| Network | Seed |"


def test_a_table_without_rows_is_an_error():
    with pytest.raises(ValueError, match="has no rows"):
        tables.show(FRAME[FRAME.top1 > 100], columns=["top1"], **SHOWN)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="qstudy collect"):
        tables.read_csv(tmp_path / "none.csv")


def rows_of(*origins, **columns):
    frame = pd.DataFrame({"model": ["a", "b"], "top1": [1.0, 2.0], **columns})
    return frame.assign(origin=origins)


def shown(frame):
    return tables.show(
        frame, columns=["model", "top1"], caption="Two.", name="tab-t", csv="t.csv"
    )


def test_rows_taken_over_among_others_are_marked_with_both_machines():
    table = shown(rows_of("published", "regenerated", machine=["old", "new"]))
    assert "| a † | 1.00 |" in table.markdown and "| b | 2.00 |" in table.markdown
    assert table.caption == (
        "Two. † from the published results, on old; the others on new."
    )
    table = shown(rows_of("from-checkpoint", "published"))
    assert "| b † |" in table.markdown and "not measured here" in table.caption


@pytest.mark.parametrize("origin", ["published", "regenerated"])
def test_rows_of_one_origin_are_not_marked(origin):
    table = shown(rows_of(origin, origin))
    assert "†" not in table.markdown and table.caption == "Two."

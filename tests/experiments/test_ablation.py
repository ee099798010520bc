"""What one change brings, over seeds: against SciPy, and by hand."""

import pandas as pd
import pytest
from scipy import stats

from qstudy.experiments import ablation

FACTORS = {"width": ("narrow", "wide"), "rate": ("slow",)}
TOPS = {
    "fp32": (90.0, 91.0, 92.0),
    "base": (80.0, 81.0, 83.0),
    "narrow": (79.0, 80.1, 81.9),
    "wide": (80.1, 81.4, 83.2),
    "slow": (70.0, 75.0, 79.0),
    "slow, wide": (72.0, 76.9, 81.1),
}


@pytest.fixture
def frame():
    rows = [
        {"condition": c, "seed": seed, "top1": top, "model": "resnet8"}
        | {"weight_bits": 2, "activation_bits": 2, "run": f"{ablation.plain(c)}/{seed}"}
        for c, tops in TOPS.items()
        for seed, top in enumerate(tops)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def table(frame):
    return ablation.summary(frame, factors=FACTORS, against={"slow, wide": "slow"})


def test_each_gain_is_a_paired_t_test_with_what_it_is_compared_with(table):
    by_name = table.set_index("condition")
    assert list(by_name.index) == list(TOPS)
    for condition, base in (("narrow", "base"), ("slow, wide", "slow")):
        row = by_name.loc[condition]
        found = stats.ttest_rel(TOPS[condition], TOPS[base])
        low, high = found.confidence_interval()
        assert row.compared_with == base
        assert row.p == pytest.approx(found.pvalue)
        assert (row.gain_lo, row.gain_hi) == pytest.approx((low, high))
        assert row.gain_pp == pytest.approx((low + high) / 2)
    for control in ("fp32", "base"):
        assert by_name.loc[control].isna()[["gain_pp", "p", "compared_with"]].all()


def test_holm_is_within_the_factor_and_nothing_else_is_judged(table):
    by_name = table.set_index("condition")
    least, other = sorted(by_name.p[["narrow", "wide"]])
    assert sorted(by_name.p_holm[["narrow", "wide"]]) == pytest.approx(
        [min(2 * least, 1), max(other, 2 * least)]
    )
    assert by_name.p_holm["slow"] == by_name.p["slow"]
    assert pd.isna(by_name.resolved["slow, wide"])  # of no factor
    assert by_name.resolved["narrow"] == (by_name.p_holm["narrow"] <= 0.05)


def test_a_number_names_the_runs_of_both_that_it_compares(table):
    said = ablation.numbers(table, stem="x")
    assert said["x.slow_wide.gain"].runs == tuple(
        f"{c}/{seed}" for c in ("slow_wide", "slow") for seed in range(3)
    )
    assert said["x.base.top1"].value == pytest.approx(81.3333, abs=1e-3)
    assert "x.base.gain" not in said and "x.slow_wide.verdict" not in said
    verdicts = [said[f"x.{c}.verdict"].value for c in ("narrow", "wide", "slow")]
    assert verdicts == ["worse", "not resolved", "not resolved"]
    assert (said["x.judged"].value, said["x.resolved"].value) == (3, 1)


def test_a_condition_without_its_base_is_not_compared(frame):
    alone = frame[frame.condition != "slow"]
    table = ablation.summary(alone, factors=FACTORS, against={"slow, wide": "slow"})
    row = table.set_index("condition").loc["slow, wide"]
    assert row.isna()[["gain_pp", "p", "compared_with"]].all()


def test_the_picture_fills_what_is_resolved_and_names_what_others_build_on(
    frame, table
):
    drawn = ablation.figure(frame, table, name="x", method="lsq")
    assert drawn.caption.startswith(
        "Resolved, as corrected by Holm within a factor: narrow. Filled: resolved;"
    )
    assert "A condition that builds on slow is held against that." in drawn.caption
    axis = drawn.figure.axes[0]
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels == ["slow, wide", "slow", "wide", "narrow"]
    marks = [line for line in axis.lines if line.get_marker() not in ("|", "None", "_")]
    filled = [m.get_markerfacecolor() != "white" for m in marks if len(m.get_xdata())]
    assert filled[:1] == [False] and filled.count(True) == 1

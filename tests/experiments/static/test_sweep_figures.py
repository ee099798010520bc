"""The figures of the sweeps, drawn from made-up records: what they say, what fits."""

from itertools import combinations

import pytest
from matplotlib.patches import Rectangle

from qstudy.experiments.static import (
    figures_layers,
    figures_sweeps,
    figures_tree,
    tables_sweeps,
)
from qstudy.experiments.static.grid_sweeps import CALIBRATORS, SHOWN
from qstudy.report import style
from tests.experiments.static import fabricate

DRAWN = ("weights", "calibration", "clips", "variance", "sensitivity", "partial")
DRAWN += ("models", "depth", "cures", "tree")


def lost(name):
    """Little by learned rounding, five points by 4-bit weights, two else."""
    if "adaround" in name and "per_channel" in name:
        return 1
    return 50 if "nearest" in name or "per_tensor" in name else 20


@pytest.fixture(scope="module")
def tables():
    return tables_sweeps.tables(fabricate.sweeps(lost))


@pytest.fixture(scope="module")
def drawn(tables):
    with style.context():
        made = {f.name: f for f in figures_sweeps.figures(tables)}
        for one in made.values():
            one.figure.draw_without_rendering()
    return made


def test_every_sweep_but_the_engines_is_drawn(drawn):
    assert set(drawn) == {f"static_{name}" for name in DRAWN}


@pytest.mark.parametrize("name", DRAWN)
def test_text_lies_inside_its_figure(drawn, name):
    figure = drawn[f"static_{name}"].figure
    whole = figure.bbox
    for text in texts(figure):
        box = text.get_window_extent()
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1, text.get_text()
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1, text.get_text()


@pytest.mark.parametrize("name", ["clips", "variance", "tree", "calibration"])
def test_no_two_labels_overlap(drawn, name):
    figure = drawn[f"static_{name}"].figure
    for one, other in combinations(texts(figure), 2):
        pair = one.get_text(), other.get_text()
        assert not one.get_window_extent().overlaps(other.get_window_extent()), pair


def texts(figure):
    """Every text that is seen, of axes and of their ticks and labels."""
    found = []
    for axes in figure.axes:
        found += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        if axes.axison:
            for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, None)):
                limits = limits or axes.get_ylim()
                low, high = sorted(limits)
                found += [
                    tick.label1
                    for tick in axis.get_major_ticks()
                    if low <= tick.get_loc() <= high
                ]
    return [text for text in found if text.get_visible() and text.get_text()]


def test_each_calibrator_has_a_line_of_its_own(drawn):
    axes = drawn["static_clips"].figure.axes
    assert len(axes) == len(SHOWN)
    for one in axes:
        assert len(one.get_yticks()) == len(CALIBRATORS) == len(one.texts)
    assert "3.01" in [text.get_text() for text in axes[0].texts]


def test_the_tree_asks_and_every_leaf_is_a_row_of_the_tables(drawn, tables):
    tree = drawn["static_tree"]
    leaves = tree.data
    assert len(leaves) == 6 and leaves.path.is_unique
    assert all(" yes" in path or " no" in path for path in leaves.path)
    rows = {
        (row.run, round(row.drop_pp, 6))
        for name in figures_tree.NEEDED
        for row in tables[f"static_{name}.csv"].itertuples()
    }
    assert {(r.run, round(r.drop_pp, 6)) for r in leaves.itertuples()} <= rows
    labels = [text.get_text() for text in tree.figure.axes[0].texts]
    assert labels.count("yes") == labels.count("no") == 5


def test_a_leaf_with_almost_no_drop_has_a_whole_border(drawn):
    (axes,) = drawn["static_tree"].figure.axes
    boxes = [p for p in axes.patches if isinstance(p, Rectangle)]
    leaves = [box for box in boxes if box.get_edgecolor()[2] > 0.5]
    assert len(leaves) == 6 and len(boxes) == 11
    assert sum(box.get_linestyle() in ("-", "solid") for box in leaves) == 1
    caption = drawn["static_tree"].caption
    assert caption.startswith("Almost no drop: W4A8, weights per channel, rounding")
    assert "on resnet20" in caption


def test_the_tree_s_text_fits_its_boxes(drawn):
    (axes,) = drawn["static_tree"].figure.axes
    boxes = [p.get_window_extent() for p in axes.patches if isinstance(p, Rectangle)]
    for text in axes.texts:
        if text.get_text() in ("yes", "no"):
            continue
        inner = text.get_window_extent()
        assert any(
            box.x0 <= inner.x0
            and inner.x1 <= box.x1
            and box.y0 <= inner.y0
            and inner.y1 <= box.y1
            for box in boxes
        ), text.get_text()


def test_the_tree_takes_the_best_order_with_all_its_layers(tables):
    """Also where one with fewer layers happened to score better."""
    frame = tables["static_partial.csv"].copy()
    noise = frame.index[frame.ranking == "noise"]
    frame.loc[noise, "drop_pp"] = [-5.0, -6.0, -4.0]
    leaf = figures_tree.tree({**tables, "static_partial.csv": frame}).data.iloc[-1]
    assert leaf.drop_pp == -4.0 and "3 layers in fp32, by noise" in leaf.advice


def test_a_layer_that_saves_nothing_has_a_bar_to_the_left_of_zero(tables):
    frame = tables["static_sensitivity.csv"].copy()
    frame.loc[frame.layer == "fc", "leave_one_out"] = -0.2
    bars = figures_layers.sensitivity(frame).figure.axes[0].patches
    assert (bars[-1].get_x(), bars[-1].get_width()) == pytest.approx((0.0, -0.2))
    assert all(bar.get_x() == 0 for bar in bars)

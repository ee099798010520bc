"""Logarithmic axes: where Matplotlib's own put things, with ticks in plain numbers."""

import numpy as np
import pytest

from qstudy.report import scales, style


def places(setting, values):
    """Where `values` lie on the y axis, in pixels, and the labels of ticks in view."""
    with style.context():
        figure, axis = style.new_figure()
        axis.plot(range(len(values)), values)
        setting(axis)
        figure.draw_without_rendering()
        points = [(0.0, value) for value in values]
        low, high = axis.get_ylim()
        labels = [
            t.get_text()
            for t, at in zip(axis.get_yticklabels(), axis.get_yticks(), strict=True)
            if low <= at <= high
        ]
        return axis.transData.transform(points)[:, 1], labels


def test_logarithmic_is_matplotlibs_with_plain_labels():
    values = [0.7, 1.0, 3.3, 150.0]
    ours, labels = places(lambda a: scales.logarithmic(a, "y"), values)
    theirs, _ = places(lambda a: a.set_yscale("log"), values)
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert labels[:3] == ["1", "2", "5"] and labels[-1] == "100"
    _, labels = places(lambda a: scales.logarithmic(a, "y", base=2), values)
    assert labels == ["1", "2", "4", "8", "16", "32", "64", "128"]
    _, labels = places(lambda a: scales.logarithmic(a, "y", ticks=[1, 1000, 3]), values)
    assert labels == ["1", "3"]


def test_symmetric_is_matplotlibs_symlog():
    values = [-120.0, -1.5, -0.4, 0.0, 0.9, 1.0, 20.0]
    ours, labels = places(lambda a: scales.symmetric(a, "y"), values)
    theirs, _ = places(lambda a: a.set_yscale("symlog", linthresh=1.0), values)
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert labels == ["-100", "-10", "-1", "0", "1", "10"]


def test_forward_and_back_is_the_same():
    for x in (-300.0, -1.0, -0.2, 0.0, 0.5, 1.0, 7.0):
        assert scales._straightened(scales._bent(x)) == pytest.approx(x, rel=1e-12)


def test_a_wrong_axis_or_base_is_named():
    _, axis = style.new_figure()
    axis.plot([1, 2])
    with pytest.raises(ValueError, match=r"axis 'z' is not one of \('x', 'y'\)"):
        scales.logarithmic(axis, "z")
    with pytest.raises(ValueError, match=r"base 3 is not one of \(2, 10\)"):
        scales.logarithmic(axis, "x", base=3)


def test_what_has_no_logarithm_lies_below_everything():
    ours, _ = places(lambda a: scales.logarithmic(a, "y"), [1.0, 10.0, 0.0])
    assert np.isfinite(ours).all() and ours[2] < ours[0] < ours[1]


@pytest.mark.parametrize(
    ("low", "high", "base", "ends"),
    [
        (0.9, 17.7, 2, (0.5, 32)),
        (1.0, 4.0, 2, (1, 4)),
        (3.0, 3.0, 2, (2, 4)),
        (2.0, 2.0, 2, (2, 4)),
        (0.31, 7.2, 10, (0.2, 10)),
        (12.0, 48.0, 10, (10, 50)),
    ],
)
def test_no_mark_lies_beyond_the_last_label(low, high, base, ends):
    _, axis = style.new_figure()
    axis.plot([low, high], [0, 1])
    scales.logarithmic(axis, "x", base=base)
    scales.enclose(axis, "x", low, high)
    assert axis.get_xlim() == ends
    assert {*ends} <= {*axis.get_xticks()}
    for wrong in ((0.0, 1.0), (2.0, 1.0), (1.0, 1e30), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="is not a range within the ticks"):
            scales.enclose(axis, "x", *wrong)


def test_a_symmetric_axis_ends_at_labels_too():
    _, axis = style.new_figure()
    axis.plot([-77, 0.4], [0, 1])
    scales.symmetric(axis, "x")
    scales.enclose(axis, "x", -77, 0.4)
    assert axis.get_xlim() == (-100, 1)

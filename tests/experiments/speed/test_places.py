"""Under the roofs and on the map, on made-up tables whose answers are known."""

import math

import pandas as pd
import pytest

from qstudy.experiments.speed.numbers import numbers
from qstudy.experiments.speed.tables_places import places, points

ENDS = {"machine": "m", "origin": "published"}


def layer(kind, *, macs, x, weight, y, precision="int8", model="net", **more):
    """A row of speed_roofline.csv."""
    row = {"kind": kind, "model": model, "precision": precision, "threads": 1}
    row |= {"macs": macs, "input": x, "weight": weight, "output": y}
    row |= {"bytes": x + weight + y, "bound_ms": 1.0, "bound_by": "peak"}
    return {**row, "run": "r" * 64, **ENDS, **more}


def conv(channels, side, *, kernel=3, into=None, stride=1, **more):
    into = into or channels
    taps, pixels = into * kernel**2, side**2
    return layer(
        "conv",
        macs=channels * pixels * taps,
        x=into * (stride * side) ** 2,
        weight=channels * taps,
        y=channels * pixels,
        **more,
    )


def depthwise(channels, side):
    pixels = side**2
    return layer(
        "depthwise",
        macs=9 * channels * pixels,
        x=channels * pixels,
        weight=9 * channels,
        y=channels * pixels,
    )


def linear(inputs, outputs):
    return layer(
        "linear",
        macs=inputs * outputs,
        x=inputs,
        weight=inputs * outputs,
        y=outputs,
    )


CELLS = {
    "conv": [(16, 7), (16, 28), (64, 7), (64, 28)],
    "depthwise": [(32, 14), (32, 56), (512, 14), (512, 56)],
    "linear": [(64, 64), (512, 64), (64, 512), (512, 512)],
}


def crossover():
    """Every cell's ratio is unlike all others: its sides can be read from it."""
    rows = []
    for operator, cells in CELLS.items():
        for first, second in cells:
            for engine, slower in (("x86", 0), ("onednn", 1)):
                for form, add in (("kernel", 0.5), ("with ends", 0.0)):
                    ratio = first + second / 1000 + add - slower
                    row = {"operator": operator, "first": first, "second": second}
                    row |= {"batch": 1, "threads": 1, "shapes": len(cells), "n": 5}
                    row |= {"engine": engine, "form": form, "ms": 1.0 + slower}
                    row |= {"ratio": ratio, "ratio_lo": ratio, "ratio_hi": ratio}
                    rows.append({**row, "run": "c" * 64, **ENDS})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        (conv(16, 32), ("conv", 16, 32)),
        (conv(32, 16, into=16, stride=2), ("conv", 32, 16)),
        (depthwise(96, 56), ("depthwise", 96, 56)),
        (linear(512, 100), ("linear", 512, 100)),
    ],
)
def test_a_layer_has_the_sides_of_its_operator(row, shape):
    (found,) = places(pd.DataFrame([row]), crossover()).itertuples()
    assert (found.operator, found.first, found.second) == shape
    assert found.layers == 1 and found.ops_pct == 100


@pytest.mark.parametrize("cell", CELLS["conv"])
def test_on_a_cell_the_map_says_what_the_faster_engine_had(cell):
    (found,) = places(pd.DataFrame([conv(*cell)]), crossover()).itertuples()
    assert found.ratio == pytest.approx(cell[0] + cell[1] / 1000)
    assert found.kernel_ratio == pytest.approx(found.ratio + 0.5)


def test_between_cells_the_map_is_straight_in_logarithms():
    (found,) = places(pd.DataFrame([conv(32, 14)]), crossover()).itertuples()
    corners = [a + b / 1000 for a, b in CELLS["conv"]]
    assert found.ratio == pytest.approx(math.prod(corners) ** (1 / 4))
    # Beyond its edge it says what it says there.
    (found,) = places(pd.DataFrame([conv(512, 4)]), crossover()).itertuples()
    assert found.ratio == pytest.approx(64.007)


@pytest.mark.parametrize(
    "row",
    [
        conv(64, 28, kernel=1),
        conv(64, 28, kernel=1, stride=2),
        conv(64, 28, into=3, kernel=7, stride=2),
    ],
)
def test_other_kernels_are_not_on_the_map(row):
    both = pd.DataFrame([row, conv(64, 28)])
    (found,) = places(both, crossover()).itertuples()
    assert found.layers == 1
    assert found.ops_pct == pytest.approx(
        100 * both.macs.iloc[1] / (both.macs.iloc[0] + both.macs.iloc[1])
    )


def test_layers_of_one_shape_are_counted_together():
    rows = [conv(16, 28), conv(16, 28), conv(64, 7), linear(64, 64)]
    made = places(pd.DataFrame(rows), crossover())
    assert list(made.layers) == [2, 1, 1]
    assert sum(made.ops_pct) == pytest.approx(100)
    quoted = numbers({"speed_places.csv": made})
    key = "speed.net.map.conv"
    assert quoted[f"{key}.layers"].value == 3
    assert quoted[f"{key}.ends_least"].value == pytest.approx(16.028)
    assert quoted[f"{key}.kernel_most"].value == pytest.approx(64.507)
    operations = [2 * 28**2 * 16 * 16 * 9, 7**2 * 64 * 64 * 9]
    time = operations[0] / 16.028 + operations[1] / 64.007
    gain = quoted[f"{key}.ends_gain"].value
    assert gain == pytest.approx(sum(operations) / time)
    assert quoted[f"{key}.ops"].runs == ("c" * 64, "r" * 64)


def test_a_point_is_the_fastest_route_under_its_own_roof():
    peaks = [
        {"kind": "peak", "precision": p, "gops": g, "threads": 1, "run": "r" * 64}
        for p, g in (("fp32", 100.0), ("int8", 400.0))
    ]
    layers = [
        conv(16, 32, precision=p, bound_ms=b, bound_by=by)
        for p in ("fp32", "int8")
        for b, by in ((1.0, "peak"), (3.0, "memory"))
    ]
    roofline = pd.DataFrame([*peaks, *layers])
    timed = {"model": "net", "batch": 1, "threads": 1, "baseline": "eager_fp32"}
    timed |= {"engine": "torch", "run": "t" * 64, **ENDS}
    speed = pd.DataFrame(
        [
            {**timed, "precision": p, "candidate": f"{p}:{how}", "ms": ms}
            for p, how, ms in (
                ("fp32", "eager", 9.0),
                ("fp32", "compiled", 8.0),
                ("int8", "x86", 5.0),
            )
        ]
    )
    made = points(roofline, speed).set_index("precision")
    assert list(made.candidate) == ["fp32:compiled", "int8:x86"]
    fp32 = made.loc["fp32"]
    operations = 2 * 2 * 16 * 32**2 * 16 * 9
    assert fp32.gops == pytest.approx(operations / 8e6)
    assert fp32.peak_pct == pytest.approx(fp32.gops)
    assert (fp32.bound_ms, fp32.reached_pct, fp32.memory_pct) == (4.0, 50.0, 75.0)
    assert math.isclose(made.loc["int8"].reached_pct, 80.0)
    quoted = numbers({"speed_points.csv": made.reset_index()})
    assert quoted["speed.net.roof.fp32_reached_t1"].value == 50.0
    assert quoted["speed.net.roof.int8_bound_t1"].runs == ("r" * 64, "t" * 64)

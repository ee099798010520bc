"""Seconds of quantizing: what is timed, and the verdict on the goal."""

import pytest
import torch

from qstudy.experiments import baselines
from qstudy.experiments.static import (
    grid_work,
    numbers_kept,
    tables_sweeps,
    tasks,
)
from qstudy.spec import Value, Values
from tests.experiments.records import record
from tests.experiments.static.test_kept import Drawn


def timed(least, most):
    spec = grid_work.work(baselines.published("resnet20"))
    seconds = Value((least + most) / 2, "s", "timing", least, most)
    values = {f"s.{name}": seconds for name in grid_work.WORKS}
    return record(spec, Values({**values, "images": Value(10000, "count", "exact")}))


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [
        (1.0, 4.9, "holds"),
        (4.9, 5.0, "undecided here"),
        (4.0, 6.0, "undecided here"),
        (5.0, 6.0, "fails"),
    ],
)
def test_the_slowest_round_decides_that_the_goal_is_met(least, most, said):
    made = tables_sweeps.tables([timed(least, most)])
    frame = made["static_work.csv"]
    assert frame.work.tolist() == ["quantize", "quantize_static", "evaluate"]
    assert frame.images.tolist() == [512, 512, 10000]
    assert (frame.s_lo == least).all() and (frame.s_hi == most).all()
    quoted = numbers_kept.numbers(made)
    assert quoted["static.claim.work.evaluate"].value == said
    assert quoted["static.work.quantize.seconds"].value == (least + most) / 2
    assert quoted["static.work.goal"].value == 5


def test_every_round_of_every_work_is_timed_after_one_that_is_not(
    tmp_path, monkeypatch
):
    if "x86" not in torch.backends.quantized.supported_engines:
        pytest.skip("torch has no engine x86 on this machine")
    from qstudy.experiments.static import tasks_work

    taken = iter(range(1, 10))

    def counted(call):
        call()
        return float(next(taken))

    monkeypatch.setattr(tasks_work, "_seconds", counted)
    few = {"calibration_images": 64, "scored_images": 64, "rounds": 2}
    spec = grid_work.work(baselines.smoke(), **few, threads=1)
    found = tasks.run(spec, Drawn(tmp_path)).values
    # The first three are not kept; then 4, 5, 6 and 7, 8, 9 of the three works.
    of = {n: (v.low, v.value, v.high) for n, v in found.items() if n[:2] == "s."}
    assert of == {
        "s.quantize": (4, 5.5, 7),
        "s.quantize_static": (5, 6.5, 8),
        "s.evaluate": (6, 7.5, 9),
    }
    assert found["ratio.quantize"].value == pytest.approx((5 / 4 + 8 / 7) / 2)
    assert found["images"].value == 64
    assert 0 <= found["top1.int8"].value <= 100

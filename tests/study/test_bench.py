"""The reader's tool: five networks that the study does not use, and bad calls."""

import json
import re

import pytest
import torch
from torch import nn

import qstudy
from qstudy.measure import conditions
from qstudy.measure.statistics import Interval
from qstudy.methods import routes
from qstudy.study import bench
from qstudy.study.bench import Report, Row, Timing
from tests.methods.routes import networks

PLACE = "tests.methods.routes.networks:"
TINY = Timing(processes=1, rounds=3, seconds=0.2, warmup_seconds=0.05)
QUICK = ("fp32:eager", "fp32:channels_last_fused", "bf16:eager", "int8:x86")


def report_of(model, shape, **options):
    options = {"routes": QUICK, "threads": 1, "progress": False, **options}
    return qstudy.bench(model, torch.zeros(2, *shape), timing=TINY, **options)


@pytest.mark.parametrize("name", networks.ALL)
def test_a_reader_s_network_is_timed_or_refused_with_its_reason(name):
    report = report_of(PLACE + name, networks.ALL[name][1])
    rows = {row.route: row for row in report.rows}
    assert list(rows) == list(QUICK)
    timed = [row for row in report.rows if not row.refused]
    for row in timed:
        assert row.ms.low <= row.ms.value <= row.ms.high and row.ms.n == 1
        assert row.ratio_best.value > 0 and row.size_mib > 0
        assert row.int8_share == (1.0 if row.route == "int8:x86" else 0.0)
    assert rows["fp32:eager"].ratio_eager.value == 1
    assert rows["fp32:eager"].sqnr is None and rows["fp32:eager"].agreement == 1
    assert report.best_fp32.startswith("fp32:")
    if name == "unsupported":
        assert "no quantized form here" in rows["int8:x86"].refused
        assert report.sentence.startswith("No int8 route takes this network; int8:x86")
    else:
        assert rows["int8:x86"].sqnr > 15
        assert "int8:x86" in report.sentence
    if name == "mlp":
        assert "channels-last" in rows["fp32:channels_last_fused"].refused
    text = str(report)
    assert report.sentence in text
    assert all(route in text for route in QUICK)
    assert json.loads(report.as_json())["rows"][0]["route"] == "fp32:eager"


def test_a_module_goes_to_other_processes_with_its_own_weights():
    report = report_of(networks.reused(), (3, 16, 16), routes=QUICK[:1])
    assert report.model == "_Residual" and report.rows[0].ms.value > 0


class _Holding(nn.Module):
    """Holds what is no module, tensor or plain value."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)
        self.holds = torch.device("cpu"), Interval(1, 0, 2, 3)

    def forward(self, x):
        return self.fc(x)


def test_a_module_that_no_process_can_be_given_is_refused():
    class Local(nn.Linear):
        """Cannot be imported."""

    with pytest.raises(ValueError, match=r"put it into a file and give 'module:funct"):
        report_of(Local(4, 2), (4,))
    words = r"handed to another process \(_Holding\.holds\[1\] is of class Interval"
    with pytest.raises(ValueError, match=words):
        report_of(_Holding(), (4,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": 0}, "threads 0 is not from 1 to"),
        ({"threads": 4096}, "threads 4096 is not from 1 to"),
        ({"routes": ["int4:magic"]}, "route 'int4:magic' is not one of"),
    ],
)
def test_what_is_not_there_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        report_of(PLACE + "mlp", (32,), **change)


@pytest.mark.parametrize(
    ("place", "shape", "words"),
    [
        ("nowhere:net", (4,), "cannot be found"),
        ("no_function", (4,), "is not of the form 'module:function'"),
        (PLACE + "nothing", (4,), "cannot be found"),
        (PLACE + "_seeded", (4,), "failed"),
        (PLACE + "plain_cnn", (1, 16, 16), "does not fit the network"),
        (PLACE + "plain_cnn", (32,), "does not fit the network"),
    ],
)
def test_a_network_or_an_input_that_is_wrong_is_one_line(place, shape, words):
    with pytest.raises(ValueError, match=words) as caught:
        report_of(place, shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", ["", "3", "1x3x0x4", "1,3,4,4", "1x-3x4"])
def test_a_shape_is_read_or_refused(shape):
    with pytest.raises(ValueError, match="is not a shape like 1x3x224x224"):
        bench.example_of(shape)
    assert bench.example_of("2x3x4X5").shape == (2, 3, 4, 5)


def test_ids_are_drawn_up_to_the_largest_of_the_example():
    # bag() has as many rows as ids, so that a larger one would have no answer.
    example = bench.example_of("1x12", vocabulary=networks.WORDS)
    assert example.dtype == torch.int64 and int(example.max()) == networks.WORDS - 1
    report = qstudy.bench(
        PLACE + "bag",
        example,
        threads=1,
        routes=["fp32:eager", "int8:x86", "int8:dynamic"],
        timing=TINY,
        progress=False,
    )
    eager, static, dynamic = report.rows
    assert not eager.refused and static.refused
    assert dynamic.kernels == {"quantized::linear_dynamic": 1}


def test_what_are_no_ids_is_named():
    with pytest.raises(ValueError, match="vocabulary -1 is below 0"):
        bench.example_of("1x12", vocabulary=-1)
    for example, words in (
        (torch.tensor([[3, -2]]), "example has the id -2: 0 is the least"),
        (torch.zeros(1, 4, dtype=torch.int32), "or int64 ids"),
    ):
        with pytest.raises(ValueError, match=words):
            qstudy.bench(PLACE + "bag", example, timing=TINY, progress=False)


def test_a_network_that_nothing_exports_keeps_its_eager_routes():
    report = report_of(
        PLACE + "branching", (4,), routes=["fp32:eager", "fp32:compiled", "int8:x86"]
    )
    rows = {row.route: row for row in report.rows}
    assert not rows["fp32:eager"].refused
    assert rows["fp32:compiled"].refused
    assert "cannot be traced" in rows["int8:x86"].refused


def test_a_busy_machine_is_told(monkeypatch):
    monkeypatch.setattr(conditions, "other_load", lambda: 63.0)
    report = report_of(PLACE + "mlp", (32,), routes=QUICK[:1])
    assert report.load == 63 and report.notes[0].startswith("This machine is busy: 63")
    assert "is busy" in str(report)


def report_with(*rows):
    """A report of a made-up network that has these rows."""
    return Report(
        model="net",
        shape=(1, 4),
        threads=1,
        processes=5,
        machine="a machine",
        load=0.0,
        notes=(),
        best_fp32="fp32:eager",
        sentence="Said.",
        rows=rows,
    )


def test_a_ratio_whose_interval_holds_1_is_not_resolved():
    one = Interval(1.02, 0.97, 1.08, 5)
    row = Row(
        route="int8:x86", ms=one, ratio_best=one, kernels={"quantized::linear": 2}
    )
    told = str(report_with(row))
    assert "not resolved" in told and "2 quantized::linear" in told


def test_columns_are_wider_than_the_longest_route():
    longest = max(map(len, routes.ROUTES))
    assert longest + 2 <= bench._WIDE
    one = Interval(1.0, 0.9, 1.1, 5)
    rows = (Row(route=name, ms=one, kernels={"aten::mm": 1}) for name in routes.ROUTES)
    text = str(report_with(*rows))
    for name in routes.ROUTES:
        assert f"{name} " in text
        assert re.search(rf"^  {name} {{2,}}1 aten::mm$", text, re.MULTILINE)

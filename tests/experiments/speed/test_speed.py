"""The speed experiment: every path once, what its records become, its goals."""

from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module

import pytest
from safetensors.torch import save_file

from qstudy.experiments import speed
from qstudy.experiments.speed import recipe, tasks
from qstudy.measure.latency import LatencyResult
from qstudy.methods import routes
from qstudy.methods.routes import changes
from qstudy.models import zoo
from qstudy.report import style
from qstudy.spec import Value, Values
from tests.experiments.records import record

# The package's own attributes of these names are functions.
grid = import_module("qstudy.experiments.speed.grid")
numbers = import_module("qstudy.experiments.speed.numbers")
selection = import_module("qstudy.experiments.speed.tables_selection")


class Inputs:
    """A context that gives an untrained ResNet-8 to whoever asks for a parent."""

    def __init__(self, folder):
        self.resume = folder

    def checkpoint(self, parent):
        path = self.resume / "resnet8.safetensors"
        save_file(zoo.build("resnet8").state_dict(), path)
        return path

    @contextmanager
    def progress(self, total, description):
        yield lambda note="": None


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    ctx = Inputs(tmp_path_factory.mktemp("resume"))
    return [record(spec, speed.run(spec, ctx)) for spec in speed.grid("smoke")]


def test_the_routes_of_the_grid_are_those_that_there_are():
    # What only says that layout and fusion do in bf16 what they do in fp32, and what
    # takes no convolutions.
    left_out = {"bf16:channels_last", "int8:dynamic", "int8:ort_dynamic"}
    assert list(recipe.CANDIDATES) == [n for n in routes.ROUTES if n not in left_out]
    assert set(recipe.QUICK) < set(recipe.CANDIDATES)
    assert set(recipe.ZOO_CANDIDATES) < set(recipe.CANDIDATES)
    assert set(recipe.TEXT_CANDIDATES) < set(routes.ROUTES)


def test_what_is_tried_is_a_route_and_a_change_of_it_and_the_route_itself():
    named = (*recipe.TRIED, *recipe.TRIED_COMPILED)
    for candidate in named:
        route, _ = changes.parts(candidate)
        assert route in recipe.CANDIDATES and route in named
    assert {changes.parts(c)[1] for c in named} == {"", *changes.CHANGES}


def test_no_two_specs_are_alike_and_quick_is_a_part():
    specs = [*grid.first(), *grid.tried(), *grid.compiled()]
    specs += [*grid.batches(), *grid.zoo()]
    assert len({spec.key for spec in specs}) == len(specs)
    assert {s.key for s in grid.quick()} <= {s.key for s in grid.first()}
    smoke = {spec.params["task"] for spec in grid.smoke()}
    assert smoke == {spec.params["task"] for spec in specs} == set(tasks.TASKS)
    compiled = ("compiled", "pt2e")
    for spec in [*grid.smoke(), *grid.quick()]:
        named = spec.params.get("candidates", [])
        assert not [name for name in named if name.endswith(compiled)]


def test_every_path_ends_in_tables_figures_and_numbers(records):
    made = speed.tables(records)
    assert set(made) == {
        "speed.csv",
        "speed_zoo.csv",
        "speed_tried.csv",
        "speed_breakdown.csv",
        "speed_roofline.csv",
        "speed_crossover.csv",
        "speed_points.csv",
        "speed_places.csv",
    }
    rows = made["speed.csv"]
    int8 = rows[rows.candidate == "int8:x86"]
    assert set(int8.int8_kernels) == {10} and set(int8.float_kernels) == {0}
    assert int8.kernels.str.contains("quantized::conv2d_relu").all()
    assert set(rows.baseline) == {
        *("eager_fp32", "best_fp32", "best_bf16", "torch_fp32", "x86_int8")
    }
    (changed,) = made["speed_tried.csv"].itertuples()
    assert (changed.route, changed.change) == ("int8:x86", "kept")
    assert changed.baseline == "unchanged" and changed.ratio > 0
    parts = [f"{part}_pct" for part in tasks.PARTS]
    sums = made["speed_breakdown.csv"][parts].sum(axis=1)
    assert sums.tolist() == pytest.approx([100] * len(sums))
    shapes = made["speed_crossover.csv"]
    assert len(shapes) == 3 * 2 * 2  # shapes, engines, with ends or without
    with style.context():
        figures = {figure.name for figure in speed.figures(made)}
    assert figures == {
        "speed_summary",
        "speed_routes",
        "speed_breakdown",
        "speed_roofline",
        "speed_crossover",
    }
    quoted = speed.numbers(made)
    key = "speed.resnet8.int8.eager_fp32_b1_t1"
    assert quoted[key].runs == (records[0].spec.key,)
    assert quoted["speed.resnet8.int8.route_b1_t1"].value == "int8:x86"
    won = [quoted[f"speed.crossover.conv.kernel.{r}_b1_t1"] for r in _RESULTS]
    assert sum(number.value for number in won) == 2 and won[0].n == 2
    kept = quoted["speed.resnet8.tried.int8_x86.kept_t1"]
    assert kept.value == changed.ratio and kept.runs == (changed.run,)
    assert 0 < quoted["speed.resnet8.calls.int8_x86_b1_t1"].value < 100


_RESULTS = ("wins", "ties", "loses")


def test_a_layer_s_bound_is_the_larger_of_its_two(records):
    frame = speed.tables(records)["speed_roofline.csv"]
    peaks = frame[frame.kind == "peak"].set_index("precision").gops
    levels = frame[frame.kind == "level"].set_index("layer").gb_s
    assert list(levels.index) == ["L1", "L2", "L3", "memory"]
    layers = frame[frame.model == "resnet8"]
    assert len(layers) == 10 * len(peaks)
    first = layers[layers.precision == "fp32"].iloc[0]
    # conv1 of 32 x 32 pixels: 3 to 16 channels, 3 x 3.
    assert first.macs == 32 * 32 * 16 * 27
    assert first.bytes == 4 * (3 * 32 * 32 + 16 * 27 + 16 * 32 * 32)
    arithmetic = 2 * first.macs / (peaks["fp32"] * 1e6)
    memory = first.bytes / (levels["memory"] * 1e6)
    assert first.bound_ms == max(arithmetic, memory)


def test_a_quick_run_beside_a_whole_one_is_not_quoted(records):
    one = records[0]
    few = replace(
        one.spec, params={**one.spec.params, "candidates": ["fp32:eager", "int8:x86"]}
    )
    values = {k: v for k, v in one.values.items() if "bf16:eager" not in k}
    both = [one, record(few, Values(values))]
    frame = speed.tables(both)["speed.csv"]
    assert set(frame.routes) == {2, 3}
    assert set(selection.whole(frame).run) == {one.spec.key}


def test_a_refused_route_is_kept_with_its_reason(records):
    values = dict(records[0].values)
    for key in [key for key in values if key.endswith("/int8:x86")]:
        values.pop(key)
    values = {k: v for k, v in values.items() if "int8:x86" not in k}
    values["refused/int8:x86"] = Value("no kernels for it", "text", "exact")
    made = speed.tables([record(records[0].spec, Values(values))])
    refused = made["speed_refused.csv"]
    assert refused.reason.tolist() == ["no kernels for it"]
    assert "int8:x86" not in set(made["speed.csv"].candidate)


def test_baselines_are_the_fastest_of_each_engine():
    ms = {
        "fp32:eager": 9.0,
        "fp32:compiled": 5.0,
        "fp32:openvino": 4.0,
        "int8:x86": 2.0,
        "int8:ort_qdq": 3.5,
        "int8:ort_qoperator": 3.0,
        "int8:openvino": 1.0,
    }
    result = LatencyResult({name: {1: (t, t)} for name, t in ms.items()})
    chosen = {name: baseline for name, baseline, _ in tasks.pairs(result)(1)}
    assert chosen == {
        "eager_fp32": "fp32:eager",
        "best_fp32": "fp32:openvino",
        "torch_fp32": "fp32:compiled",
        "x86_int8": "int8:x86",
        "ort_int8": "int8:ort_qoperator",
        "openvino_int8": "int8:openvino",
    }


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(2.0, 3.0, "holds"), (1.0, 1.9, "fails"), (1.5, 2.5, "undecided here")],
)
def test_a_goal_is_judged_by_the_interval(low, high, said):
    assert numbers.verdict(low, high, 2.0) == said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "guess"}, "task 'guess' of speed is not one of"),
        ({"threads": 0}, "threads 0 is not from 1 to"),
    ],
)
def test_a_wrong_spec_is_named(change, words, tmp_path):
    spec = grid.smoke()[0]
    with pytest.raises(ValueError, match=words):
        speed.run(replace(spec, params={**spec.params, **change}), Inputs(tmp_path))


def test_a_busy_machine_is_told_and_kept(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tasks.conditions, "other_load", lambda: 63.0)
    spec = grid.roofline_spec([], threads=1, seconds=0.01)
    found = speed.run(spec, Inputs(tmp_path))
    assert found.values["load"].value == 63.0
    assert "This machine is busy: 63 %" in capsys.readouterr().err


def test_quick_is_what_its_page_says_two_models_four_routes_one_column():
    specs = grid.quick()
    routed = [s.params for s in specs if s.params["task"] == "route"]
    assert len({p["model"] for p in routed}) == 2
    assert {len(p["candidates"]) for p in routed} == {4}
    (column,) = [s.params for s in specs if s.params["task"] == "crossover"]
    assert len({side for _, side in column["shapes"]}) == 1
    needs = {name for p in routed for name in p["candidates"]}
    # On a machine without the extra `engines`, quick mode runs all the same.
    assert {routes.ROUTES[name].engine for name in needs} == {"torch"}

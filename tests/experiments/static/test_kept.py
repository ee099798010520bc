"""Layers back in fp32: the sets, their tables, the front; and what the tasks score."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from qstudy import data
from qstudy.experiments import baselines, static
from qstudy.experiments.static import (
    figures_kept,
    grid_kept,
    numbers_kept,
    tables_kept,
    tables_sweeps,
    tasks,
    tasks_kept,
)
from qstudy.experiments.static.grid_kept import CHOSEN, COUNTS, EVERY, NONE
from qstudy.experiments.static.grid_sweeps import APART
from qstudy.methods import convert
from qstudy.methods.static import QuantizeConfig, quantize
from qstudy.models import zoo
from qstudy.report import style
from qstudy.spec import RunSpec, Value, Values
from qstudy.study.tree import repository
from qstudy.training.batches import normalise
from qstudy.training.loop import predict
from tests.experiments.records import record
from tests.methods.networks import stir

PUBLISHED = repository() / "results" / "tables"
FEW = {
    "orders": {"greedy": ["fc", "conv1"], "noise": ["conv1", "fc"]},
    "counts": [1, 2],
}


def test_the_orders_are_those_that_were_published():
    layers = pd.read_csv(PUBLISHED / "static_sensitivity.csv")
    first = layers[(layers.draw == 0) & (layers.model == "resnet20")]
    for measure in ("leave_one_out", "noise"):
        ranked = first.sort_values(measure, ascending=False, kind="stable").layer
        assert tuple(ranked[: max(COUNTS)]) == CHOSEN[measure]
    partial = pd.read_csv(PUBLISHED / "static_partial.csv")
    last = partial[partial.ranking == "greedy"].iloc[-1]
    assert tuple(last.layers.split()) == CHOSEN["greedy"]


def test_sets_are_distinct_and_named_alike_however_a_record_orders_them():
    found = grid_kept.sets({"orders": CHOSEN, "counts": COUNTS})
    assert len(set(found.values())) == len(found) == 10
    assert next(iter(found)) == NONE and list(found)[-1] == EVERY
    assert "greedy-1" not in found and "greedy-4" in found
    turned = dict(reversed(CHOSEN.items()))
    assert list(grid_kept.sets({"orders": turned, "counts": COUNTS})) == list(found)
    few = grid_kept.places(FEW)
    assert few == [
        (NONE, 0, NONE),
        ("noise", 1, "noise-1"),
        ("noise", 2, "noise-2"),
        ("greedy", 1, "greedy-1"),
        ("greedy", 2, "noise-2"),  # the same two
        (EVERY, None, EVERY),
    ]


def test_what_stands_apart_is_in_the_full_grid_alone_and_has_a_smoke_form():
    of = {
        mode: {spec.params["task"] for spec in static.grid(mode)}
        for mode in ("smoke", "quick", "full")
    }
    assert set(APART) <= of["smoke"] and set(APART) <= of["full"]
    assert not set(APART) & of["quick"]


# ---- tables


def made_up(lost, ms, *, threads=(1,), images=1000):
    """Records of FEW: `lost` images of each wBITS.SET, and `ms` of each candidate."""
    parent = baselines.dev("resnet20")
    spec = grid_kept.kept(parent, **FEW)
    rights = [900 - lost.get(name, 0) for name in grid_kept.names(spec.params)]
    values = {"layers": Value(22, "count", "exact")}
    for name, right in zip(grid_kept.names(spec.params), rights, strict=True):
        top1 = 100 * right / images
        values[f"top1.{name}"] = Value(top1, "%", "isa", top1 - 1, top1 + 1, 0.5)
    correct = np.stack([np.uint8(np.arange(images) < right) for right in rights])
    scored = record(spec, Values(values, arrays={"correct": correct}))
    timed = []
    for count in threads:
        spec = grid_kept.kept_latency(parent, threads=count, **FEW)
        values = {}
        fastest = min((n for n in ms if n.startswith("fp32")), key=ms.get)
        for name, taken in ms.items():
            values[f"ms/{name}/b1"] = Value(taken, "ms", "timing", taken, taken)
            for said, base in (("int8", f"int8:{NONE}"), ("best_fp32", fastest)):
                ratio = ms[base] / taken
                key = f"ratio/{said}/{name}/b1"
                values[key] = Value(ratio, "ratio", "timing", ratio - 0.01, ratio + 0.1)
        timed.append(record(spec, Values(values)))
    return [scored, *timed]


LOST = {"w4.none": 70, "w4.noise-1": 30, "w4.noise-2": 20, "w4.greedy-1": 80}
LOST |= {"w4.every": 5, "w8.none": 1}
MS = {"int8:none": 0.7, "int8:noise-1": 0.8, "int8:noise-2": 0.9}
MS |= {"int8:greedy-1": 0.75, "int8:every": 2.0, "fp32:eager": 1.5}
MS |= {"fp32:channels_last_fused": 1.0, "fp32:compiled": 0.85}


def test_a_set_s_drop_and_time_stand_in_one_row_and_what_is_beaten_is_off_the_front():
    made = tables_sweeps.tables(made_up(LOST, MS))
    frame = made["static_pareto.csv"]
    assert len(frame) == 2 * (6 + 1)
    four = frame[frame.bits == 4].set_index(["order", "kept"])
    assert four.loc["noise", 1].drop_pp == pytest.approx(3.0)
    assert four.loc["noise", 1].ms == 0.8
    assert four.loc["noise", 1].ratio == pytest.approx(0.875)
    assert four.loc["greedy", 2].ms == four.loc["noise", 2].ms == 0.9
    assert four.loc[EVERY, 22].drop_pp == pytest.approx(0.5)
    base = four.loc["fp32"].iloc[0]
    assert (base.set, base.drop_pp, base.ms) == ("compiled", 0.0, 0.85)
    # One layer by greedy drops more than none; two layers are slower than fp32.
    front = frame[frame.front & (frame.bits == 4)]
    assert front.set.tolist() == ["none", "noise-1", "compiled"]
    assert set(frame[frame.front & (frame.bits == 8)].set) == {"none", "greedy-1"}
    assert frame.run.nunique() == frame.baseline_run.nunique() == 1
    kept = made["static_kept.csv"]
    assert set(kept[kept.bits == 8].engine) == {"x86"}
    assert kept[kept.kept == 22].bits.tolist() == [4, 8]
    assert kept[kept.order == "greedy"].layers.tolist()[:2] == ["fc", "fc conv1"]


def test_either_part_alone_has_its_own_table():
    scored, timed = made_up(LOST, MS)
    assert set(tables_sweeps.tables([scored])) == {"static_kept.csv"}
    assert set(tables_sweeps.tables([timed])) == {"static_kept_latency.csv"}


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(-3, 6)), min_size=1, max_size=12)
)
def test_the_front_is_what_no_other_point_beats(points):
    frame = pd.DataFrame(points, columns=["ms", "drop_pp"])
    frame = frame.assign(model="a", stage="dev", seed=0, bits=4, threads=1)
    frame["set"] = [f"s{i}" for i in frame.index]
    made = tables_kept._fronts(frame)
    on = {(r.ms, r.drop_pp) for r in made[made.front].itertuples()}
    assert on == {
        (ms, drop)
        for ms, drop in points
        if not any((a <= ms and b <= drop and (a, b) != (ms, drop)) for a, b in points)
    }


def test_numbers_tell_costs_fronts_and_how_many_sets_beat_fp32():
    made = tables_sweeps.tables(made_up(LOST, MS, threads=(1, 2)))
    quoted = numbers_kept.numbers(made)
    assert quoted["static.kept.w4.none.drop"].value == pytest.approx(7)
    assert quoted["static.kept.w4.every.drop"].value == pytest.approx(0.5)
    cost = quoted["static.kept.t2.noise.k1.cost"]
    assert cost.value == pytest.approx(100 * 0.8 / 0.7 - 100)
    assert cost.low < cost.value < cost.high and cost.n == 8
    assert quoted["static.kept.t1.fp32.ms"].value == 0.85
    assert quoted["static.kept.t1.fp32.form"].value == "compiled"
    faster = quoted["static.kept.t1.faster"]
    assert (faster.value, faster.n) == (2, 4)
    assert quoted["static.kept.w4.resolved"].value == 5
    assert quoted["static.kept.w8.resolved"].value == 0
    front = quoted["static.kept.w4.t1.front"]
    assert front.value == "none kept, then conv1 kept, then fp32 compiled"
    assert len(front.runs) == 2
    assert all(number.runs for number in quoted.values())


def test_the_figure_says_its_front_and_its_text_lies_inside():
    made = tables_sweeps.tables(made_up(LOST, MS, threads=(1, 2)))
    with style.context():
        drawn = figures_kept.pareto(made["static_pareto.csv"])
        drawn.figure.draw_without_rendering()
    assert "conv1 kept, 0.80 ms and 3.00 points" in drawn.alt
    assert "2 threads: none kept, 0.70 ms and 7.00 points" in drawn.caption
    assert len(drawn.figure.axes) == 2
    whole = drawn.figure.bbox
    for axis in drawn.figure.axes:
        for text in (axis.xaxis.label, axis.yaxis.label, axis.title, *axis.texts):
            if text.get_text():
                box = text.get_window_extent()
                assert whole.x0 <= box.x0 and box.x1 <= whole.x1, text.get_text()
                assert whole.y0 <= box.y0 and box.y1 <= whole.y1, text.get_text()


# ---- tasks


class Drawn:
    """A context whose network's weights are drawn from a seed."""

    def __init__(self, folder):
        self.path, self.resume = folder / "network.safetensors", folder / "resume"
        model = stir(zoo.build("resnet8"))
        with torch.no_grad():  # no class is the answer to every image
            logits = model(normalise(self.images("synthetic", "train")[0]))
            model.fc.bias -= logits.mean(0)
        save_file(model.state_dict(), self.path)

    def images(self, dataset, split):
        images, labels = data.load(dataset, split)
        return images[:96], labels[:96]

    def checkpoint(self, parent):
        return self.path

    @contextmanager
    def progress(self, total, description):
        steps = []
        yield steps.append
        assert len(steps) == total


@pytest.fixture(scope="module")
def ctx(tmp_path_factory):
    return Drawn(tmp_path_factory.mktemp("drawn"))


def test_the_sets_scored_are_those_of_the_public_call(ctx):
    if "x86" not in torch.backends.quantized.supported_engines:
        pytest.skip("torch has no engine x86 on this machine")
    spec = grid_kept.kept(
        baselines.smoke(),
        orders={"noise": ["conv1"]},
        counts=[1],
        ranked_images=32,
        calibration_images=64,
    )
    found = tasks.run(spec, ctx).arrays["predictions"]
    names = grid_kept.names(spec.params)
    assert found.shape == (len(names), 64)
    images, _ = ctx.images("synthetic", "test")
    model = zoo.build("resnet8").eval()
    zoo.load_checkpoint(model, ctx.path)
    batches = tasks.calibration_batches(
        ctx.images("synthetic", "train")[0], count=64, draw=0
    )
    four = {"weight_bits": 4, "activation_bits": 4, "first_last_bits": 4}
    for name, how in (
        ("w4.none", {**four, "engine": None}),
        ("w4.noise-1", {**four, "engine": None, "kept_float": ("conv1",)}),
        ("w8.noise-1", {"engine": "x86", "kept_float": ("conv1",)}),
    ):
        network = quantize(model, batches, QuantizeConfig(**how))
        wanted = predict(network, images[32:]).argmax(1).numpy()
        assert (found[names.index(name)] == wanted).all(), name
    assert (found[names.index("w4.none")] != found[0]).any()


def test_what_is_timed_has_float_layers_where_they_are_kept(ctx, monkeypatch):
    if "x86" not in torch.backends.quantized.supported_engines:
        pytest.skip("torch has no engine x86 on this machine")
    made, real = [], convert.convert
    monkeypatch.setattr(
        convert, "convert", lambda *a, **k: made.append(real(*a, **k)) or made[-1]
    )
    spec = grid_kept.smoke()[1]
    calibration = tasks.calibration_file(spec, ctx)
    kept = {"none": [], "noise-1": ["conv1"], "every": None}
    for name in kept:
        call = tasks_kept.timed_forward(
            name=f"int8:{name}",
            model="resnet8",
            checkpoint=str(ctx.path),
            calibration=str(calibration),
            engine="x86",
            kept=kept,
            batch=1,
        )
        call()
    floating = [
        sum(type(m) in (torch.nn.Conv2d, torch.nn.Linear) for m in net.modules())
        for net in made
    ]
    assert floating == [0, 1, 10]
    x = normalise(np.load(calibration))
    with torch.inference_mode():
        assert not torch.equal(made[0](x), made[2](x))


def test_a_spec_of_the_page_keeps_its_meaning_on_disk():
    for spec in grid_kept.specs():
        again = RunSpec.from_dict(spec.as_dict())
        assert again.key == spec.key
        assert grid_kept.sets(again.params) == grid_kept.sets(spec.params)

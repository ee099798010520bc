"""The sweeps of the static chapter: their specs, and tables from records made up."""

import inspect
import warnings

import numpy as np
import pytest

from qstudy.experiments import baselines, static
from qstudy.experiments.baselines.recipe import DEPTHWISE
from qstudy.experiments.static import (
    figures_sweeps,
    grid_sweeps,
    numbers_networks,
    numbers_sweeps,
    tables_sweeps,
    tasks_models,
)
from qstudy.experiments.static.grid_sweeps import SWEEPS, label
from qstudy.experiments.static.tables_layers import kendall
from qstudy.methods import legacy
from qstudy.methods.engines.onnxruntime_static import quantized_session
from qstudy.methods.static.eager import StaticConfig, qconfig
from qstudy.spec import RunSpec, Value, Values, canonical_json
from tests.experiments.records import record


def test_every_sweep_is_offered_once_and_tried_in_smoke_mode():
    second = grid_sweeps.second()
    assert len({s.key for s in second}) == len(second)
    assert {s.params["task"] for s in second} == set(SWEEPS)
    assert {s.params["task"] for s in static.grid("smoke")} >= set(SWEEPS)


def test_what_chooses_is_scored_on_held_out_images():
    for spec in grid_sweeps.second():
        stage = RunSpec.from_dict(spec.params["parent"]).params["stage"]
        split = {"dev": "validation", "published": "test"}[stage]
        assert spec.params["scored_on"] == split
        chooses = spec.params["task"] in (
            *("activations", "clips", "variance", "sensitivity", "partial"),
        )
        assert chooses == (split == "validation")


def test_a_condition_keeps_its_name_on_disk_and_shares_it_with_no_other():
    for spec in grid_sweeps.second():
        conditions = spec.params.get("conditions", [])
        names = [label(c) for c in conditions]
        assert len(set(names)) == len(names)
        assert names == [label(dict(sorted(c.items()))) for c in conditions]
        canonical_json(spec.as_dict())


@pytest.mark.parametrize(
    ("a", "b", "tau"),
    [
        ([1, 2, 3], [4, 5, 6], 1),
        ([1, 2, 3], [3, 2, 1], -1),
        ([1, 2, 3], [1, 3, 2], 1 / 3),
    ],
)
def test_kendalls_tau_counts_pairs(a, b, tau):
    assert kendall(a, b) == pytest.approx(tau)
    with pytest.raises(ValueError, match="1 and 1 values have no order"):
        kendall([1], [1])


def swept(spec, rights, **more):
    """The record of a sweep: fp32 first, each right about the first images."""
    names = ["fp32", *(label(c) for c in spec.params["conditions"])]
    values = {
        f"top1.{name}": Value(right / 10, "%", "isa", 0.0, 100.0, 0.5)
        for name, right in zip(names, rights, strict=True)
    }
    correct = np.stack([np.uint8(np.arange(1000) < right) for right in rights])
    return record(spec, Values(values | more, arrays={"correct": correct}))


@pytest.mark.parametrize(
    ("losses", "said"),
    [((60, 50, 55), "holds"), ((4, 2, 6), "undecided here"), ((1, 0, 2), "fails")],
)
def test_the_verdict_on_small_models_is_by_seeds(losses, said):
    large = 20 if said == "fails" else 4
    records = [
        swept(
            grid_sweeps.models(baselines.published(model, seed=seed)),
            (900, 900, 900, 900 - lost),
        )
        for seed, small in enumerate(losses)
        for model, lost in (("resnet20", large), ("resnet8", small))
    ]
    made = tables_sweeps.tables(records)
    frame = made["static_models.csv"]
    assert frame.model.tolist() == ["resnet8"] * 9 + ["resnet20"] * 9
    assert frame.drop_pp.tolist()[2] == pytest.approx(losses[0] / 10)
    quoted = numbers_networks.numbers(made)
    assert quoted["static.claim.small_models.w4a4"].value == said
    assert quoted["static.models.resnet8.w8a8.drop"].value == 0
    difference = quoted["static.models.difference.w4a4"]
    assert difference.value == pytest.approx((sum(losses) / 3 - large) / 10)
    assert difference.n == 3 and len(difference.runs) == 6


def test_one_seed_of_a_size_has_no_difference():
    records = [
        swept(grid_sweeps.models(baselines.published(model)), (900,) * 4)
        for model in ("resnet8", "resnet20")
    ]
    quoted = numbers_networks.numbers(tables_sweeps.tables(records))
    assert "static.models.difference.w8a8" not in quoted
    assert "static.models.resnet20.w8a8.drop" in quoted


def test_the_fewest_bits_end_where_more_bits_fail():
    """5 bits, which cost little, do not count when 6 bits cost much."""
    spec = grid_sweeps.weights(baselines.published("resnet20"))
    lost = {8: 0, 7: 1, 6: 50, 5: 1, 4: 60, 3: 300, 2: 800}
    rights = [900 - lost[c["weight_bits"]] for c in spec.params["conditions"]]
    made = tables_sweeps.tables([swept(spec, (900, *rights))])
    quoted = numbers_networks.numbers(made)
    assert quoted["static.weights.per_channel.fewest"].value == 7
    assert quoted["static.claim.weights.per_tensor.w6"].value == "fails"
    assert quoted["static.claim.weights.per_tensor.w7"].value == "holds"


def test_the_network_with_depthwise_layers_has_numbers_of_its_own():
    """None of its drops counts among those of the residual networks."""
    records = []
    for model, lost in (("resnet20", 10), (DEPTHWISE, 110)):
        parent = baselines.published(model)
        for make in (grid_sweeps.weights, grid_sweeps.models, grid_sweeps.cures):
            spec = make(parent)
            rounded = (900 - lost,) * len(spec.params["conditions"])
            cpu = {
                f"cpu.{label(c)}": Value(1.0, "s", "timing", 1.0, 1.0)
                for c in spec.params["conditions"]
            }
            records.append(swept(spec, (900, *rounded), **cpu))
    made = tables_sweeps.tables(records)
    quoted = numbers_networks.numbers(made)
    for stem, drop in (("static", 1.0), ("static.mobilenet", 11.0)):
        for name in ("weights.per_tensor.folded.w8", "cures.per_tensor.nearest"):
            assert quoted[f"{stem}.{name}.drop"].value == pytest.approx(drop)
    assert quoted["static.models.resnet20.w8a8.drop"].value == pytest.approx(1.0)
    theirs = [key for key in quoted if DEPTHWISE in key]
    assert theirs and all(key.startswith("static.mobilenet.") for key in theirs)
    drawn = {figure.name: figure for figure in figures_sweeps.figures(made)}
    for name in ("static_weights", "static_cures"):
        titles = [axis.get_title() for axis in drawn[name].figure.axes]
        assert titles == ["resnet20", DEPTHWISE]


def layered(task, *, seed=0, orders=("b a", "a b", "b")):
    """The record of a sweep over layers a and b, right about ever fewer images."""
    parent = baselines.dev("resnet20")
    if task == "sensitivity":
        spec, names = grid_sweeps.sensitivity(parent, seed), ["fp32", "all"]
        names += ["out.a", "in.a", "out.b", "in.b"]
        told = {"layers": Value("a b", "text", "exact")}
    else:
        spec, names = grid_sweeps.partial(parent), ["fp32", "0"]
        told = {}
        for ranking, order in zip(grid_sweeps.ORDERS, orders, strict=True):
            told[f"order.{ranking}"] = Value(order, "text", "exact")
            names += [f"{ranking}-{n}" for n in range(1, len(order.split()) + 1)]
    rights = [900 - 10 * place for place in range(len(names))]
    for name, right in zip(names, rights, strict=True):
        told[f"top1.{name}"] = Value(right / 10, "%", "isa", 0.0, 100.0, 0.5)
        told[f"loss.{name}"] = Value(1 - right / 1000, "nat", "isa", tolerance=0.05)
    for layer, noise in (("a", 20.0), ("b", 10.0)):
        told[f"noise.{layer}"] = Value(noise, "dB", "isa", tolerance=0.5)
    correct = np.stack([np.uint8(np.arange(1000) < right) for right in rights])
    return record(spec, Values(told, arrays={"correct": correct}))


def test_a_layer_s_two_drops_are_its_own_networks_against_fp32():
    made = tables_sweeps.tables([layered("sensitivity", seed=s) for s in range(2)])
    a, b = made["static_sensitivity.csv"].iloc[:2].itertuples()
    assert (a.layer, b.layer) == ("a", "b")
    assert (a.drop_out, a.drop_in) == pytest.approx((2.0, 3.0))
    assert (b.drop_out, b.drop_in) == pytest.approx((4.0, 5.0))
    assert a.drop_in_lo < 3.0 < a.drop_in_hi
    assert b.one_in == pytest.approx(0.05) and b.noise == -10
    quoted = numbers_sweeps.numbers(made)
    assert quoted["static.sensitivity.one_in.first"].value == "b"
    assert quoted["static.sensitivity.leave_one_out.first"].value == "a"
    assert quoted["static.sensitivity.draws"].value == 2


def test_kept_layers_are_named_in_the_order_of_their_ranking():
    frame = tables_sweeps.tables([layered("partial")])["static_partial.csv"]
    assert frame.ranking.tolist() == [
        *("none", "leave_one_out", "leave_one_out", "noise", "noise", "greedy"),
    ]
    assert frame.layers.tolist() == ["", "b", "b a", "a", "a b", "b"]
    assert frame.drop_pp.tolist() == pytest.approx([1, 2, 3, 4, 5, 6])
    quoted = numbers_sweeps.numbers({"static_partial.csv": frame})
    assert quoted["static.partial.greedy.layers"].value == "b"


@pytest.mark.parametrize("engine", sorted(tasks_models.DEFAULTS))
def test_an_engine_s_defaults_are_those_of_the_library(engine):
    """Observers by torch's own get_default_qconfig, and by what the task asks for."""
    config = StaticConfig(engine=engine, **tasks_models.DEFAULTS[engine])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the eager API is going away
        theirs = legacy.eager_api().get_default_qconfig(engine)
        ours = qconfig(config)
        for part in ("activation", "weight"):
            their, our = (getattr(which, part)() for which in (theirs, ours))
            assert type(their) is type(our)
            for told in ("dtype", "qscheme", "quant_min", "quant_max"):
                assert getattr(their, told) == getattr(our, told), (part, told)


def test_the_onnx_runtime_s_defaults_are_those_of_the_library():
    quantization = pytest.importorskip("onnxruntime.quantization")
    theirs = inspect.signature(quantization.quantize_static).parameters
    ours = inspect.signature(quantized_session).parameters
    assert theirs["per_channel"].default is ours["per_channel"].default
    assert theirs["calibrate_method"].default.name == ours["calibration"].default
    kinds = quantization.QuantType
    assert theirs["weight_type"].default is kinds.QInt8
    signed = theirs["activation_type"].default is kinds.QInt8
    assert signed is not ours["unsigned"].default


def test_the_summary_of_draws_has_the_worst_and_the_range():
    parent = baselines.dev("resnet8")
    records = []
    for draw, right in enumerate((890, 880)):
        spec = grid_sweeps.variance(parent, draw, images=(8,), scored_images=1000)
        count = len(spec.params["conditions"])
        noise = {
            f"noise.{label(c)}": Value(20.0, "dB", "isa", tolerance=0.5)
            for c in spec.params["conditions"]
        }
        records.append(swept(spec, (900, *[right] * count), **noise))
    row = tables_sweeps.tables(records)["static_variance_summary.csv"].iloc[0]
    assert (row.drop_mean, row.drop_worst) == pytest.approx((1.5, 2.0))
    assert row.range_pp == pytest.approx(1.0)
    assert row.draws == 2


def test_without_sweeps_there_are_no_tables_of_them():
    assert tables_sweeps.tables([]) == {} and numbers_sweeps.numbers({}) == {}


def test_what_quick_computes_again_is_of_the_published_grid():
    published = {spec.key for spec in grid_sweeps.second()}
    assert {spec.key for spec in grid_sweeps.quick()} < published

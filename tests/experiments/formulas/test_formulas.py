"""The formulas experiment: its grids, and small runs of its tasks up to the figures."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import save_file

from qstudy.experiments import baselines, formulas
from qstudy.experiments.formulas import tasks_errors
from qstudy.experiments.formulas.grid import (
    ENGINES,
    EXECUTOR_ENGINES,
    NAME,
    OPTIONAL_ENGINES,
    _spec,
    executor_spec,
)
from qstudy.measure import system
from qstudy.methods import conformance, engines
from qstudy.methods.conformance import implementations
from qstudy.methods.engines import operators
from qstudy.models import zoo
from qstudy.report import style
from qstudy.spec import MODES, RunSpec, Value, Values
from qstudy.study.runner import RunContext
from qstudy.study.store import Store
from tests.experiments.records import record
from tests.methods.integer.test_integer_network import sums_in_16_bits
from tests.methods.networks import stir

PARENT = baselines.smoke()
PICTURES = {
    f"formulas_{name}"
    for name in ("number_line", "sawtooth", "relu", "matmul", "graphs")
}
FAST = ("max", "moving_average", "percentile")
fbgemm = pytest.mark.skipif(
    "fbgemm" not in system.engines(), reason="torch has no engine fbgemm here"
)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """What a run is given, with an untrained network in place of the trained one."""
    folder = tmp_path_factory.mktemp("formulas")
    path = folder / "untrained.safetensors"
    model = stir(zoo.build(PARENT.params["model"], seed=3))
    save_file(model.state_dict(), path)
    found = RunContext(Store(folder), Store(folder), folder / "resume")
    found.checkpoint = lambda parent: path
    return found


def done(spec, context):
    # Two threads wait for each other wherever other work runs beside them.
    alone = replace(spec, params={**spec.params, "threads": 1})
    return record(alone, formulas.run(alone, context))


def of_task(mode, task):
    return [s for s in formulas.grid(mode) if s.params["task"] == task]


@pytest.fixture(scope="module")
def conventions(context):
    (spec,) = of_task("smoke", "conventions")
    return done(spec, context)


@pytest.fixture(scope="module")
def executed(context):
    return [done(spec, context) for spec in of_task("smoke", "executor")]


@pytest.fixture(scope="module")
def errors(context):
    (spec,) = of_task("smoke", "errors")
    with pytest.MonkeyPatch.context() as patch:
        # The two that search take seconds a layer, and have tests of their own.
        patch.setattr(tasks_errors, "CALIBRATORS", FAST)
        return done(spec, context)


def quoted(records):
    return formulas.numbers(formulas.tables(records))


def drawn(records):
    with style.context():
        return {f.name: f for f in formulas.figures(formulas.tables(records))}


def test_no_two_specs_are_alike_and_every_one_names_its_threads():
    for mode in MODES[1:]:
        specs = formulas.grid(mode)
        assert len({s.key for s in specs}) == len(specs)
        assert all(s.params["threads"] >= 1 for s in specs)
        assert {s.experiment for s in specs} == {NAME}


def test_quick_is_within_full_and_every_mode_has_every_task():
    grids = {mode: formulas.grid(mode) for mode in MODES[1:]}
    assert set(grids["quick"]) < set(grids["full"])
    tasks = [{s.params["task"] for s in specs} for specs in grids.values()]
    assert tasks[0] == tasks[1] == tasks[2] and len(tasks[0]) == 7
    engines = {s.params["engine"] for s in of_task("full", "operators")}
    assert engines == {*ENGINES, *OPTIONAL_ENGINES}


def test_the_whole_test_set_is_compared_at_8_bits_and_with_reduced_range():
    most = [
        (s.params["engine"], s.params["activation_bits"])
        for s in of_task("full", "executor")
        if s.params["images"] == 10_000
    ]
    eight = [(engine, 8) for engine in EXECUTOR_ENGINES]
    assert sorted(most) == sorted([*eight, ("fbgemm", 7)])


def test_nothing_is_compiled_or_downloaded_in_smoke_mode():
    specs = formulas.grid("smoke")
    names = [n for s in specs for n in s.params.get("candidates", [])]
    assert names and not any("compiled" in n or "pt2e" in n for n in names)
    datasets = {s.params["dataset"] for s in specs if "dataset" in s.params}
    parents = {
        RunSpec.from_dict(s.params["parent"]) for s in specs if "parent" in s.params
    }
    assert datasets == {"synthetic"} and parents == {PARENT}


def test_the_vectors_are_part_of_their_run_s_name():
    digest = hashlib.sha256(conformance.VECTORS.read_bytes()).hexdigest()
    for mode in MODES[1:]:
        (spec,) = of_task(mode, "conformance")
        assert spec.params["vectors"] == digest


def test_an_unknown_task_is_named(context):
    with pytest.raises(ValueError, match=r"task 'guess' is not one of \('conventions'"):
        formulas.run(_spec("guess"), context)


def test_the_conventions_hold_the_scales_of_a_hand_s_reckoning(conventions):
    # The range -1.5 to 3 at 8 bits; the largest magnitude is 3.
    expected = {
        "scale/max_code": 3 / 127,
        "scale/half_range": 3 / 127.5,
        "scale/both_ends": 3 / 127,  # 1.5 / 128 is less
        "scale/min_code": 3 / 128,
        "scale/unsigned": 2 * 3 / 255,
        "affine/uint8": 4.5 / 255,
        "affine/int8": 4.5 / 255,
    }
    scales = {
        key.rpartition("/")[0]: conventions[key]
        for key in conventions.values
        if key.endswith("/scale") and "/wu/" not in key and "deck" not in key
    }
    assert scales == pytest.approx(expected, rel=1e-6)
    assert conventions["affine/uint8/zero_point"] == 85
    assert conventions["affine/int8/zero_point"] == 85 - 128
    for name, scale in expected.items():
        zero = conventions[f"{name}/zero_point"]
        assert conventions[f"{name}/code"] == round(0.1 / scale) + zero, name
    # Wu et al. multiply by the inverse.
    assert conventions["scale/wu/scale"] == pytest.approx(127 / 3)
    assert conventions["affine/wu/scale"] == pytest.approx(255 / 4.5)


def test_the_deck_s_example_is_13(conventions):
    assert conventions["deck/max_code/code"] == 13
    assert conventions["deck/max_code/scale"] == pytest.approx(1 / 127)
    number = quoted([conventions])["formulas.deck.max_code.code"]
    assert (number.value, number.runs) == (13, (conventions.spec.key,))


def test_ties_are_counted_under_both_rules(conventions):
    table = formulas.tables([conventions])["rounding_ties.csv"]
    rows = table.set_index("call")
    assert list(rows.n) == [64, 64, 64, 63]
    assert (rows.after + rows.before == rows.n).all()
    # Fake quantization adds its zero point before it rounds.
    assert rows.loc["fake_quantize", "after"] in (0, 64)


def test_conventions_become_a_row_each(conventions):
    table = formulas.tables([conventions])["conventions.csv"]
    assert len(table) == 5 + 2 + 2 + 1
    assert not table.duplicated(["scheme", "convention"]).any()
    units = table.set_index(["scheme", "convention"]).unit
    assert units["affine", "wu"] == "1/unit" and units["affine", "uint8"] == "unit"
    assert not table.isna().any().any()


@pytest.fixture(scope="module")
def overflow(context):
    (spec,) = of_task("smoke", "overflow")
    return done(spec, context)


@fbgemm
def test_only_fbgemm_s_depthwise_kernel_saturates(overflow):
    assert overflow["exact_sum"] == 211 * 71 + 171 * 107 == 33_278
    assert overflow["saturated"] == 128
    table = formulas.tables([overflow])["overflow.csv"]
    assert set(table.engine) == set(engines.available())
    assert set(table.expected) == {130}  # 33,278 / 256
    for row in table.itertuples():
        assert row.n == (1 if row.operator == "linear" else 36)
        if (row.operator, row.engine) == ("conv2d_depthwise", "fbgemm"):
            assert row.saturating > 0 and row.smallest == 128
        elif row.engine in ("qnnpack", "onednn") or not sums_in_16_bits(row.engine):
            assert row.saturating == 0 and row.smallest == 130, row
    found = quoted([overflow])
    if not sums_in_16_bits("x86"):
        told = found["formulas.overflow.saturating"].value
        assert told == "conv2d depthwise on fbgemm"
    assert found["formulas.overflow.sum"].value == 33_278
    assert found["formulas.overflow.pairs"].value == 36


@fbgemm
def test_operators_are_counted_by_kind_of_input(context):
    (spec,) = of_task("smoke", "operators")
    record = done(spec, context)
    table = formulas.tables([record])["integer_operators.csv"]
    assert len(table) == len(operators.INPUTS) * (len(operators.OPERATORS) + 1)
    assert (table.n > 0).all()
    assert (table.share == 100 * table.differing / table.n).all()
    depthwise = table[table.operator == "conv2d_depthwise"]
    at = {
        bits: rows.differing.sum()
        for bits, rows in depthwise.groupby("activation_bits")
    }
    assert at[8] > 0 and at[7] == 0
    found = quoted([record])
    assert found["formulas.depthwise.7bit"].value == 0
    assert found["formulas.depthwise.8bit"].value > 0
    pairs = len(operators.OPERATORS)
    assert found["formulas.operators.pairs"].value == pairs
    if not sums_in_16_bits("fbgemm"):
        assert found["formulas.operators.exact_pairs"].value == pairs - 1
        inexact = found["formulas.operators.inexact"].value
        assert inexact == "conv2d_depthwise on fbgemm"


def test_conformance_is_told_by_vector_and_by_operation(context, monkeypatch):
    def declining(op, parameters, input):
        if op != "round":
            raise conformance.NotOffered("rounding alone")
        return {"y": [0.0]}

    # The packages themselves are put to the vectors in tests/methods.
    chosen = {"qstudy": implementations.qstudy, "other": declining}
    monkeypatch.setattr(implementations, "installed", lambda: chosen)
    (spec,) = of_task("smoke", "conformance")
    record = done(spec, context)
    tables = formulas.tables([record])
    vectors = conformance.load()
    table = tables["conformance.csv"]
    assert len(table) == 2 * len(vectors)
    ours = table[table.implementation == "qstudy"].set_index("id")
    assert ours.result.value_counts().to_dict() == {
        "passes": len(vectors) - 2,
        "differs": 2,
    }
    empty = ours.loc["tflite-choose-empty-range"]
    assert empty.found == "scale: 1, expected 0"
    assert empty.source == next(v.source for v in vectors if v.id == empty.name)
    assert ours.found.notna().sum() == 2
    summary = tables["conformance_summary.csv"].set_index("op")
    rounding = sum(v.op == "round" for v in vectors)
    assert summary.loc["round", "qstudy"] == f"{rounding} / {rounding}"
    assert summary.loc["round", "other"] == f"0 / {rounding}"
    assert pd.isna(summary.loc["quantize", "other"])
    assert summary.n.sum() == len(vectors)
    found = {k: n.value for k, n in quoted([record]).items()}
    derived = sum(v.derived for v in vectors)
    assert found["formulas.conformance.derived"] == derived
    assert found["formulas.conformance.published"] == len(vectors) - derived
    assert found["formulas.conformance.qstudy.differs"] == 2
    assert found["formulas.conformance.other.offered"] == rounding
    assert found["formulas.conformance.other.passes"] == 0


@fbgemm
def test_a_network_in_integers_is_told_by_arithmetic_and_by_layer(executed):
    tables = formulas.tables(executed)
    networks = tables["integer_network.csv"]
    assert list(networks.arithmetic) == ["engine", "float32", "double", "single"] * 2
    eight = networks[networks.activation_bits == 8].set_index("arithmetic")
    if not sums_in_16_bits("fbgemm"):
        assert eight.loc["float32", "other_logits"] == 0
        assert eight.loc["float32", "changed"] == 0
    assert eight.loc["engine", "drop_pp"] == eight.loc["engine", "changed"] == 0
    # What 7 bits cost is told with the 7-bit run alone.
    assert eight.seven_pp.isna().all()
    seven = networks[networks.activation_bits == 7].set_index("arithmetic")
    assert seven.seven_pp.notna().all()
    cost = eight.loc["engine", "top1"] - seven.loc["engine", "top1"]
    assert seven.loc["engine", "seven_pp"] == pytest.approx(cost)
    layers = tables["integer_layers.csv"]
    # ResNet-8: the stem, three blocks, the logits.
    names = ["stem", "block 1", "block 2", "block 3", "logits"]
    assert list(layers.after) == names * 4
    assert (layers.off_by_one[layers.after == "stem"] < 1).all()
    assert (layers.off_by_more[layers.after == "stem"] == 0).all()
    assert (layers.off_by_one > 0).any()
    steps = tables["integer_steps.csv"]
    assert sorted(set(steps.step)) == ["add_relu", "average", "requantize"]
    assert (steps.off_by_more == 0).all()
    assert (steps.off_by_one < 5).all()
    found = quoted(executed)
    top1 = found["formulas.network.fbgemm.double.top1"]
    assert (top1.value, top1.n) == (eight.loc["double", "top1"], 32)
    assert found["formulas.network.images"].value == 32
    assert found["formulas.reduce_range.drop"].value == seven.loc["engine", "seven_pp"]
    first = layers[(layers.activation_bits == 8) & (layers.rounding == "double")].iloc[
        0
    ]
    number = found["formulas.layers.fbgemm.double.first"]
    assert number.value == first.off_by_one


@fbgemm
def test_what_seven_bits_cost_is_the_paired_drop_from_the_eight_bit_run(executed):
    # The untrained network may get as many right with either: make them differ.
    right = {8: 24, 7: 16}
    records = [
        replace(
            r,
            arrays={
                name: (np.arange(32) < right[r.spec.params["activation_bits"]]) * 1
                for name in r.arrays
            },
        )
        for r in executed
    ]
    table = formulas.tables(records)["integer_network.csv"]
    seven = table[table.activation_bits == 7]
    assert seven.seven_pp.tolist() == [25.0] * 4
    assert (seven.seven_lo < 25).all() and (seven.seven_hi > 25).all()
    assert quoted(records)["formulas.reduce_range.drop"].value == 25


@fbgemm
def test_arrays_say_which_images_each_arithmetic_got_right(executed):
    for done in executed:
        for arithmetic in ("engine", "float32", "double", "single"):
            correct = done.arrays[f"correct_{arithmetic}"]
            assert correct.shape == (32,) and set(np.unique(correct)) <= {0, 1}
            top1 = done[f"{arithmetic}/top1"]
            assert top1 == pytest.approx(100 * correct.mean())


@fbgemm
@pytest.mark.parametrize("images", [0, -1, 257])
def test_a_number_of_images_that_there_are_not_is_an_error(context, images):
    spec = executor_spec(PARENT, engine="fbgemm", images=images)
    with pytest.raises(ValueError, match=f"images {images} is outside 1 to 256"):
        formulas.run(spec, context)


def test_errors_are_told_for_every_kind_of_data(errors):
    table = formulas.tables([errors])["quantization_error.csv"]
    sources = {"gaussian", "laplace", "weights conv1", "activations conv1"}
    assert set(table.source) == sources and set(table.bits) == {4, 8}
    assert not table.duplicated(["source", "bits", "granularity", "calibrator"]).any()
    # Only what a ReLU gave is also put to signed codes, which lose it about a bit.
    signed = table[table.calibrator == "max_signed"]
    assert set(signed.source) == {"activations conv1"}
    loss = quoted([errors])["formulas.errors.activations_conv1.signed_loss"].value
    assert 4 < loss < 8
    whole = table[table.granularity == "per_tensor"]
    pairs = whole.pivot(index=["source", "calibrator"], columns="bits", values="sqnr")
    assert (pairs[8] > pairs[4]).all()
    # Under max nothing is clipped, and what rounding loses spread data is known; the
    # zeros that a ReLU gives, and few values, are not spread.
    largest = whole[
        (whole.calibrator == "max") & whole.source.isin(["gaussian", "laplace"])
    ]
    assert (largest.sqnr - largest.theory).abs().max() < 0.5
    found = quoted([errors])
    assert 5 < found["formulas.errors.gaussian.slope"].value < 7
    best = found["formulas.errors.laplace.best_4"].value
    assert best == largest_sqnr(whole, "laplace", 4)


def largest_sqnr(frame, source, bits):
    rows = frame[(frame.source == source) & (frame.bits == bits)]
    return rows[rows.calibrator != "max_signed"].sqnr.max()


def test_pictures_are_drawn_without_any_measurement():
    figures = drawn([])
    assert figures.keys() == PICTURES
    number_line = figures["formulas_number_line"].data
    assert list(number_line.code) == [0, 1, 2, 3, 6, 7]
    matmul = figures["formulas_matmul"].data
    assert matmul.value[:4].sum() == matmul.value[4]
    relu = figures["formulas_relu"].data
    used = relu[relu.used == "yes"].groupby("mapping").size()
    assert used.to_dict() == {"scale, signed": 4, "affine, unsigned": 8}


@fbgemm
def test_figures_have_words_and_the_data_that_they_draw(errors, executed):
    figures = drawn([errors, *executed])
    assert figures.keys() == PICTURES | {"formulas_error", "formulas_layers"}
    for figure in figures.values():
        assert figure.alt.endswith(".") and figure.caption.endswith(".")
        assert len(figure.data) > 0
    layers = figures["formulas_layers"]
    assert set(layers.data.activation_bits) == {8} and len(layers.data) == 2 * 5
    assert "fbgemm double: " in layers.alt
    assert "gaussian: at 4 bits" in figures["formulas_error"].alt


def test_a_calibrator_s_cost_is_told_a_value():
    (spec,) = of_task("smoke", "calibrator_cost")
    ms = Value(0.5, "ms", "timing", 0.4, 0.6)
    ratio = Value(0.25, "ratio", "timing", 0.2, 0.3)
    values = Values(
        {
            "ms/calibrator:max/b1": ms,
            "ratio/observer_histogram/calibrator:max/b1": ratio,
        }
    )
    timed = [record(spec, values)]
    table = formulas.tables(timed)["calibrator_cost.csv"]
    assert table["values"][0] == spec.params["values"] == 4096
    assert table.ns_a_value[0] == pytest.approx(0.5e6 / 4096)
    found = quoted(timed)
    number = found["formulas.cost.max.ratio"]
    assert (number.value, number.low, number.high) == (0.25, 0.2, 0.3)
    assert found["formulas.cost.machine"].value == "machine, x86-64"


def test_every_candidate_of_the_cost_can_be_timed():
    (spec,) = of_task("smoke", "calibrator_cost")
    for name in spec.params["candidates"]:
        tasks_errors.timed_calibrator(name=name, values=1000, batch=1)()

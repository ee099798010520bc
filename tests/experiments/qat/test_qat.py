"""The grid of the QAT chapter, and what its records become."""

import json
import math
from dataclasses import replace
from importlib import import_module

import pandas as pd
import pytest

from qstudy.experiments import baselines, qat
from qstudy.experiments.qat import grid_side
from qstudy.experiments.qat.figures import figures
from qstudy.experiments.qat.recipe import (
    ABLATION,
    CALIBRATORS,
    CHOSEN,
    COST_BASELINES,
    COSTS,
    FACTORS,
    FEW,
    FORMS,
    SIMULATION,
    WIDTHS,
)
from qstudy.experiments.qat.tables_ablation import condition_of
from qstudy.experiments.qat.tables_summary import goal_reached
from qstudy.experiments.qat.tasks import checkpoint_name
from qstudy.methods.causes import FLOAT_ORDER, ROUNDED_BIAS
from qstudy.methods.simulate import SimulateConfig
from qstudy.report import tables as report_tables
from tests.experiments.qat.fabricate import compared, scored, timed

# The package has a function of this module's name.
specs = import_module("qstudy.experiments.qat.grid")
DEV = baselines.dev("resnet20")
# What each condition gets right of 1,000 images with seed 0; a seed adds one more.
RIGHT = {"fp32": 925, "ptq": 915, "finetune": 926, "finetune+ptq": 917, "qat": 923}


def core_records(*, without=(), seeds=(0, 1, 2), width="w4a4", wobble=0):
    """One width's records for each seed; each condition wobbles by seed where asked."""
    made = []
    for seed in seeds:
        parent = baselines.published("resnet20", seed=seed)
        tuned = specs.finetune_spec(parent, width)
        runs = {
            "fp32": specs.fp32_spec(parent),
            "ptq": specs.ptq_spec(parent, width),
            "finetune": tuned,
            "finetune+ptq": specs.ptq_spec(tuned, width),
            "qat": specs.qat_spec(parent, width),
        }
        made += [
            scored(spec, RIGHT[name] + seed + (wobble * seed if name == "qat" else 0))
            for name, spec in runs.items()
            if name not in without
        ]
    return made


def test_no_two_runs_are_alike_and_quick_ones_are_in_the_full_grid():
    for mode in ("smoke", "quick", "full"):
        listed = qat.grid(mode)
        assert len({s.key for s in listed}) == len(listed)
    full = {s.key for s in qat.grid("full")}
    assert {s.key for s in qat.grid("quick")} <= full
    # Every core network is evaluated again, and one short training is repeated.
    quick = qat.grid("quick")
    assert sum(s.params["task"] == "gap" for s in quick) == len(WIDTHS) * 3
    (live,) = (s for s in quick if s.params["task"] == "train")
    assert live.params["model"] == "resnet8" and live.params["recipe"]["epochs"] == 1
    assert condition_of(live.params) == "epochs 1"


def test_what_chooses_starts_from_dev_and_never_sees_a_test_image():
    chosen = [*specs.trials(), *grid_side.ablation(), *grid_side.references()]
    for spec in chosen:
        assert spec.params["parent"]["params"]["stage"] == "dev"
        assert spec.params["split"] == "train45k"
        assert spec.params["scored_on"] == "validation"
    tried = [s.params["calibration"]["observer"] for s in specs.trials()]
    assert tried == [*CALIBRATORS] * len(WIDTHS)


def test_each_published_seed_has_its_controls():
    for width, chosen in CHOSEN.items():
        for seed in baselines.SEEDS:
            parent = baselines.published(seed=seed).as_dict()
            mine = [
                s.params
                for s in specs.core()
                if s.seed == seed and s.params["parent"] == parent
            ]
            trained = [
                p
                for p in mine
                if p["task"] == "train" and chosen.items() <= p["recipe"].items()
            ]
            assert {p["method"] for p in trained} == {"qat", "finetune"}
            one, two = (p["recipe"] for p in trained)
            assert one == two
            assert any(p["task"] == "ptq" and p["width"] == width for p in mine)


def test_no_two_networks_are_written_to_one_file():
    names = [
        checkpoint_name(spec)
        for spec in specs.grid("full")
        if spec.params["task"] == "train" and spec.params["scored_on"] == "test"
    ]
    assert len(set(names)) == len(names) == 2 * len(WIDTHS) * len(baselines.SEEDS)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_key_holds_every_field_of_the_simulation(width):
    spec = specs.qat_spec(DEV, width)
    config = SimulateConfig(**spec.params["simulate"])
    assert spec.params["simulate"] == vars(config)
    assert vars(config).items() >= {**SIMULATION, **WIDTHS[width]}.items()


def test_every_ablation_is_known_by_what_it_changes():
    found = [condition_of(s.params) for s in grid_side.ablation()]
    assert sorted(found) == sorted(3 * ["finetune", *ABLATION])
    # Each condition but the base belongs to one factor.
    varied = [name for names in FACTORS.values() for name in names]
    assert sorted(["base", *varied]) == sorted(ABLATION)


def test_a_step_is_compared_with_the_same_one_unquantized():
    for name in COSTS:
        base = COST_BASELINES[name]
        assert base in COSTS and base.split(":")[1:] == name.split(":")[1:]


def test_an_unknown_task_is_named():
    spec = specs.qat_spec(DEV, "w8a8")
    wrong = replace(spec, params={**spec.params, "task": "guess"})
    with pytest.raises(ValueError, match="task 'guess' is not one of"):
        qat.run(wrong, None)


def test_a_row_says_what_was_made_of_which_network():
    frame = qat.tables(core_records())["qat.csv"]
    assert frame.condition.tolist() == [c for c in RIGHT for _ in range(3)]
    assert frame[frame.condition == "fp32"].drop_pp.isna().all()
    assert set(frame[frame.condition == "finetune"].width) == {"w4a4"}
    row = frame[(frame.condition == "qat") & (frame.seed == 1)].iloc[0]
    assert (row.weight_bits, row.activation_bits, row.peak_lr) == (4, 4, 0.05)
    assert row.drop_pp == pytest.approx(0.2)
    fp32 = frame[(frame.condition == "fp32") & (frame.seed == 1)].iloc[0]
    assert row.baseline_run == fp32.run


def test_qat_is_compared_with_every_control_seed_by_seed():
    made = qat.tables(core_records(wobble=1))
    table = made["qat_summary.csv"].set_index("condition")
    # QAT gets 923, 925, 927; calibration 915, 916, 917: 0.8, 0.9, 1.0 ahead.
    assert table.gain_pp["ptq"] == pytest.approx(0.9)
    half = 4.302652730 * 0.1 / 3**0.5
    assert table.gain_lo["ptq"] == pytest.approx(0.9 - half)
    assert table.resolved["ptq"] and table.n["ptq"] == 3
    assert table.gain_pp["finetune+ptq"] == pytest.approx(0.7)
    assert table.drop_pp["qat"] == pytest.approx(0.1)
    assert (table.top1_min["qat"], table.top1_max["qat"]) == (92.3, 92.7)
    said = qat.numbers(made)
    assert said["qat.w4a4.ptq.behind"].value == pytest.approx(0.9)
    assert said["qat.w4a4.qat.top1"].value == pytest.approx(92.5)
    assert said["qat.w4a4.goal_verdict"].value == "reached"
    assert said["qat.claim.best_w4a4"].value == "holds"
    assert said["qat.claim.own_w4a4"].value == "holds"
    assert said["qat.w4a4.ptq.verdict"].value == "QAT is ahead"
    known = {r.spec.key for r in core_records()}
    for key, number in said.items():
        assert key.endswith(".goal") or (set(number.runs) <= known and number.runs)


@pytest.mark.parametrize(
    ("drop", "high", "verdict"),
    [
        (0.05, 0.1, "reached"),
        (0.05, 0.3, "reached by the mean alone"),
        (0.05, None, "reached by the mean alone"),
        (0.11, 0.3, "missed"),
    ],
)
def test_a_goal_for_a_mean_is_told_with_its_interval(drop, high, verdict):
    assert goal_reached(drop, high, goal=0.1) == verdict


@pytest.mark.parametrize("lacking", [*RIGHT, None])
def test_records_that_are_missing_are_left_out(lacking):
    records = core_records(without=(lacking,))
    made = qat.tables(records)
    conditions = set(made["qat_summary.csv"].condition)
    assert conditions == set(RIGHT) - {lacking}
    list(figures(made))
    qat.numbers(made)
    one = qat.tables(core_records(seeds=(0,), without=(lacking,)))
    assert one["qat_summary.csv"].gain_pp.isna().all()
    assert one["qat_summary.csv"].drop_pp.isna().all()
    list(figures(one))
    assert qat.tables([]) == {} and qat.numbers({}) == {}


def hard_records():
    """One more right in every run than in the one before, per_tensor calibrated bad."""
    return [
        scored(
            spec,
            100
            if spec.params.get("simulate", {}).get("granularity") == "per_tensor"
            and spec.params["task"] == "ptq"
            else 900 + place,
        )
        for place, spec in enumerate(grid_side.hard())
    ]


def test_the_hard_network_is_compared_within_its_width_and_granularity():
    records = hard_records()
    made = qat.tables(records)
    assert set(made) == {"qat_mobilenet.csv"}  # no part of the core's means
    table = made["qat_mobilenet.csv"]
    assert len(table) == len(records) == len(set(table.run))
    rows = table.set_index(["width", "granularity", "condition"])
    trained = rows.xs("qat", level="condition")
    assert len(trained) == 2 * len(WIDTHS) and trained.gain_pp.isna().all()
    collapsed = rows.loc[("w8a8", "per_tensor", "ptq")]
    better = rows.loc[("w8a8", "per_tensor", "qat")]
    assert collapsed.gain_pp == pytest.approx(better.top1 - 10)
    assert collapsed.ahead_run == better.run
    assert collapsed.drop_pp == pytest.approx(80)
    said = qat.numbers(made)
    behind = said["qat.mobilenet.w8a8.per_tensor.ptq.behind"]
    assert behind.runs == (better.run, collapsed.run)
    assert behind.value == pytest.approx(better.top1 - 10)
    assert said["qat.mobilenet.fp32.top1"].value == 90
    assert "qat.mobilenet.w8a8.finetune.top1" in said
    assert "qat.mobilenet.w4a4.per_channel.finetune_ptq.behind" in said


def test_the_hard_network_is_rounded_as_it_will_be_run():
    rounded = [s for s in grid_side.hard() if "simulate" in s.params]
    strategies = {s.params["simulate"]["bn_strategy"] for s in rounded}
    assert len(strategies) == 1 and not strategies & {"none"}
    kept = [checkpoint_name(s) for s in grid_side.hard() if s.params["task"] == "train"]
    assert len(set(kept)) == len(kept) == 3 * len(WIDTHS)


def ablation_records(gains):
    """Base with 900 + seed right; `gains` by condition, one a seed, in images."""
    made = []
    for spec in grid_side.ablation():
        name = condition_of(spec.params)
        if name in ("base", *gains):
            gain = gains.get(name, (0, 0, 0))[spec.seed]
            made.append(scored(spec, 900 + spec.seed + gain))
    return made


def test_an_ablation_is_resolved_by_holm_within_its_factor():
    gains = {
        "bits 8": (10, 11, 12),
        "bits 6": (10, -9, 4),
        "per_tensor": (-30, -31, -32),
        "epochs 1": (0, 0, 0),
    }
    made = qat.tables(ablation_records(gains))
    table = made["qat_ablation.csv"].set_index("condition")
    assert table.gain_pp["bits 8"] == pytest.approx(1.1)
    assert table.gain_lo["bits 8"] == pytest.approx(1.1 - 4.302652730 * 0.1 / 3**0.5)
    assert table.resolved["bits 8"] and not table.resolved["bits 6"]
    # Two were judged in the factor "bits" and one alone in its own.
    assert table.p_holm["bits 8"] == pytest.approx(2 * table.p["bits 8"])
    assert table.p_holm["per_tensor"] == table.p["per_tensor"]
    assert not table.resolved["epochs 1"]
    assert pd.isna(table.gain_pp["base"])
    said = qat.numbers(made)
    assert said["qat.ablation.bits_8.verdict"].value == "better"
    assert said["qat.ablation.per_tensor.verdict"].value == "worse"
    assert said["qat.ablation.bits_6.verdict"].value == "not resolved"
    assert said["qat.ablation.judged"].value == 4
    assert said["qat.ablation.resolved"].value == 2
    assert "qat.ablation.bn_frozen_peak_lr_0_002.gain" not in said
    (drawn,) = figures(made)
    assert drawn.name == "qat_ablation" and "per_tensor -3.10" in drawn.alt


def test_a_low_rate_is_held_against_the_same_rate():
    gains = {
        "peak_lr 0.002": (-50, -51, -52),
        "bn frozen": (-800, -801, -802),
        "bn frozen, peak_lr 0.002": (-40, -40, -40),
    }
    made = qat.tables(ablation_records(gains))
    table = made["qat_ablation.csv"].set_index("condition")
    assert table.gain_pp["bn frozen"] == pytest.approx(-80.1)
    # 10, 11 and 12 images of a thousand more than the unfolded one at that rate.
    assert table.gain_pp["bn frozen, peak_lr 0.002"] == pytest.approx(1.1)
    said = qat.numbers(made)
    assert said["qat.ablation.bn_frozen_peak_lr_0_002.verdict"].value == "better"
    (drawn,) = figures(made)
    (axis,) = drawn.figure.axes
    assert "logarithmic" in axis.get_xlabel()
    left = axis.transData.transform([(-80, 0), (-8, 0), (-1, 0), (0, 0)])[:, 0]
    first, second, third = left[1:] - left[:-1]
    assert first / second == pytest.approx(1 / math.log10(8))  # in decades
    assert third > 0


def gap_records(**changes):
    records = []
    for spec in specs.gaps():
        four = spec.params["width"] == "w4a4"
        records.append(compared(spec, **({"tie": 0.3} if four else {}), **changes))
    return records


def test_the_gap_names_counts_and_causes():
    made = qat.tables(gap_records())
    table, layers = made["qat_gap.csv"], made["qat_gap_layers.csv"]
    forms = [*FORMS["w8a8"], *FORMS["w4a4"]]
    assert table.form.tolist() == [*FORMS["w8a8"]] * 3 + [*FORMS["w4a4"]] * 3
    assert set(table.differing_pct) == {0.1}
    assert set(table.begins) == {"conv1.output (1)"}
    own = layers[layers.alone_pct > 0].set_index(["form", "seed"]).cause
    assert own["x86", 0] == FLOAT_ORDER and own["qnnpack", 0] == ROUNDED_BIAS
    assert own["integer_fixed_point", 0] == ROUNDED_BIAS
    first = layers[(layers.form == "x86") & (layers.seed == 0)]
    assert first.kernel.tolist() == ["x", "conv1.output", "pool", "fc.output"]
    assert first.cause.isna().tolist() == [True, False, False, False]
    said = qat.numbers(made)
    assert said["qat.gap.w8a8.goal_verdict"].value == "reached"
    assert said["qat.gap.w8a8.engines_within"].value == 4
    assert said["qat.gap.x86.cause"].value == FLOAT_ORDER
    assert said["qat.gap.x86.begins"].value == "conv1.output"
    assert said["qat.gap.x86.drop"].value == pytest.approx(0.1)
    assert {f"qat.gap.{form}.differing" for form in forms} <= said.keys()
    (drawn,) = figures(made)
    assert "x86: 0.2 % at the end" in drawn.alt
    worse = qat.numbers(qat.tables(gap_records(differ=2)))
    assert worse["qat.gap.w8a8.goal_verdict"].value == "missed"


def test_where_nothing_differs_nothing_is_named():
    made = qat.tables(gap_records(differ=0, alone=0.0, free=0.0))
    assert made["qat_gap.csv"].begins.isna().all()
    assert made["qat_gap_layers.csv"].cause.isna().all()
    said = qat.numbers(made)
    assert said["qat.gap.x86.cause"].value == "none"
    assert said["qat.gap.x86.margin"].value == 0
    list(figures(made))


def test_a_quick_rerun_stands_beside_the_published_rows():
    first = [compared(s) for s in specs.rerun() if s.params["task"] == "gap"]
    table = qat.tables([*gap_records(), *first])["qat_gap.csv"]
    assert "simulated" in set(table.form)
    assert all(s.params["first"] == FEW for s in specs.rerun())


def test_a_cost_is_candidate_over_unquantized():
    (spec,) = specs.costs()
    ms = dict.fromkeys(COSTS, 100.0) | {"qat-w4a4:bf16:compiled": 125.0}
    ms |= {"torch_eager:fp32": 300.0}
    made = qat.tables([timed(spec, ms)])
    table = made["qat_cost.csv"]
    assert table.candidate.tolist() == list(COSTS)
    costs = table.set_index("candidate").cost_ratio
    assert costs["qat-w4a4:bf16:compiled"] == pytest.approx(1.25)
    assert costs["torch_eager:fp32"] == pytest.approx(3)
    said = qat.numbers(made)
    assert said["qat.cost.w4a4_verdict"].value == "reached"
    assert said["qat.cost.qat_w4a4_compiled.ratio"].value == pytest.approx(1.25)
    # 12 epochs of 390 updates, 0.125 s on two threads.
    hours = said["qat.price.w4a4.core_hours"].value
    assert hours == pytest.approx(12 * 390 * 0.125 * 2 / 3600)


def test_tables_survive_their_files(tmp_path):
    (spec,) = specs.costs()
    made = qat.tables(
        [
            *core_records(),
            *ablation_records({"bits 8": (1, 2, 3)}),
            *gap_records(),
            *[scored(s, 880) for s in specs.trials()],
            *[scored(s, 880) for s in grid_side.references()],
            timed(spec, dict.fromkeys(COSTS, 50.0)),
        ]
    )
    expected = {"", "_summary", "_ablation", "_gap", "_cost", "_recipe"}
    assert {f"qat{name}.csv" for name in expected} <= made.keys()
    for name, frame in made.items():
        report_tables.write_csv(frame, tmp_path / name)
        again = report_tables.read_csv(tmp_path / name)
        assert list(again.columns) == list(frame.columns), name
    json.dumps({k: n.value for k, n in qat.numbers(made).items()}, allow_nan=False)

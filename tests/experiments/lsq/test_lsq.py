"""The grid of the LSQ chapter, and what its records become."""

import sys
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from qstudy.experiments import baselines, lsq
from qstudy.experiments.lsq.recipe import (
    ABLATION,
    ABLATION_SEEDS,
    COST_GOAL,
    GOALS,
    TRIALS,
    WIDTHS,
)
from qstudy.methods.learned import LearnedStepConfig
from qstudy.methods.simulate import LsqConfig
from qstudy.spec import Value, Values
from qstudy.training.recipe import Recipe
from tests.experiments.records import record

grid = sys.modules["qstudy.experiments.lsq.grid"]
RNG = np.random.default_rng(0)


def test_choices_start_from_dev_and_never_see_a_test_image():
    specs = [*grid.recipe_trials(), *grid.side()]
    assert len({s.key for s in specs}) == len(specs)
    models = {
        "resnet20": baselines.dev("resnet20"),
        "resnet8": baselines.dev("resnet8"),
    }
    for spec in specs:
        assert spec.params["parent"] == models[spec.params["model"]].as_dict()
        assert (spec.params["split"], spec.params["scored_on"]) == (
            "train45k",
            "validation",
        )


def test_core_networks_start_each_from_its_own_seed():
    specs = grid.core()
    assert len({s.key for s in specs}) == 12
    for spec in specs:
        assert spec.params["parent"]["seed"] == spec.seed
        assert spec.params["scored_on"] == "test"
    assert {s.seed for s in specs} == {0, 1, 2}


def test_every_spec_says_all_that_its_network_and_recipe_are():
    parts = [part() for part in grid.PARTS.values()]
    trained = [s for part in parts for s in part if s.params.get("method") == "lsq"]
    trained = [s for s in trained if "recipe" in s.params]
    assert len(trained) > 100
    for spec in trained:
        config = LsqConfig(**spec.params["simulate"])
        assert spec.params["simulate"] == asdict(config)
        recipe = Recipe(**spec.params["recipe"])
        assert recipe.epochs <= 30
        assert isinstance(config.weight(2), LearnedStepConfig)
    keys = [s.key for part in parts for s in part]
    assert len(set(keys)) == len(keys)


def test_one_condition_changes_one_thing_and_each_is_there_for_all_seeds():
    base = {k: v for k, v in grid.side()[0].params.items() if k != "condition"}
    told = {}
    for spec in grid.side():
        if spec.params["task"] == "train":
            told.setdefault(spec.params["condition"], []).append(spec)
    assert list(told) == list(ABLATION)
    for condition, specs in told.items():
        assert tuple(s.seed for s in specs) == ABLATION_SEEDS
        params = {k: v for k, v in specs[0].params.items() if k != "condition"}
        assert (params == base) == (condition == "base")


def test_what_nobody_has_run_is_in_no_published_grid():
    assert lsq.grid("full") == [s for p in grid.PUBLISHED for s in grid.PARTS[p]()]
    assert {s.key for s in lsq.grid("quick")} <= {s.key for s in lsq.grid("full")}
    tasks = {s.params["task"] for s in lsq.grid("smoke")}
    assert tasks == {"train", "evaluate", "ratio", "integers", "cost"}


def scored(spec, share, **values):
    correct = (RNG.random(2000) < share).astype(np.uint8)
    top1 = 100 * float(correct.mean())
    made = {"top1": Value(top1, "%", "stochastic", top1 - 1, top1 + 1), **values}
    if spec.params["task"] == "train":
        made["loss"] = Value(0.1, "nat", "stochastic")
    return record(spec, Values(made, arrays={"correct": correct}))


def kib(value):
    return {"size": Value(float(value), "KiB", "exact")}


def test_networks_are_told_with_their_drop_their_goal_and_their_size():
    share = {
        "share/conv1.weight/mse": Value(0.9, "ratio", "stochastic"),
        "share/conv1.input/kl": Value(1.5, "ratio", "stochastic"),
    }
    parents = [baselines.published("resnet20", seed=s) for s in (0, 1, 2)]
    made = [
        scored(grid.chosen_spec(p, "w2a2"), 0.8 + 0.01 * p.seed, **kib(80), **share)
        for p in parents
    ]
    made += [scored(grid.evaluate_spec(p, "fp32"), 0.93, **kib(1000)) for p in parents]
    made.append(
        scored(
            grid.evaluate_spec(parents[0], "static_int8", width="w4a4"), 0.5, **kib(150)
        )
    )
    made.append(scored(grid.evaluate_spec(made[0].spec, "lsq"), 0.8, **kib(80)))
    tables = lsq.tables(made)
    frame = tables["lsq.csv"]
    assert list(frame.seed) == [0, 1, 2] and set(frame.weight_bits) == {2}
    fp32 = {r.spec.seed: r["top1"] for r in made[3:6]}
    for row in frame.itertuples():
        assert row.drop_pp == pytest.approx(fp32[row.seed] - row.top1)
    summary = tables["lsq_summary.csv"].iloc[0]
    assert summary.top1 == pytest.approx(frame.top1.mean())
    assert summary.drop_pp == pytest.approx(frame.drop_pp.mean())
    size = tables["lsq_size.csv"]
    assert list(size.method) == ["lsq", "static_int8", "fp32"]
    assert list(size.n) == [3, 1, 3]
    assert list(size.front) == [True, False, True]
    error = tables["lsq_error.csv"]
    assert set(
        zip(error.layer, error.tensor, error.measure, error.share, strict=True)
    ) == {
        ("conv1", "weight", "mse", 0.9),
        ("conv1", "activation", "kl", 1.5),
    }
    assert set(error.away_pct.round(9)) == {10.0, 50.0}
    quoted = lsq.numbers(tables)
    key = "lsq.resnet20.w2a2"
    assert quoted[f"{key}.top1"].value == summary.top1
    assert quoted[f"{key}.goal"].value == GOALS["w2a2"]
    assert quoted[f"{key}.goal_verdict"].value == "missed"
    assert len(quoted[f"{key}.drop"].runs) == 6


def test_gains_are_paired_with_what_they_are_compared_with():
    dev8, dev20 = baselines.dev("resnet8"), baselines.dev("resnet20")
    made = []
    for name in ("base", "3 bits", "3 bits, decay 2.5e-5", "distilled"):
        for seed in ABLATION_SEEDS:
            spec = grid.lsq_spec(dev8, "w2a2", condition=name, seed=seed)
            made.append(scored(spec, 0.7 + 0.05 * len(name) / 20))
    for name in ("plain", "distilled"):
        made.append(scored(grid.lsq_spec(dev20, "w2a2", condition=name), 0.9))
    tables = lsq.tables(made)
    trials = tables["lsq_recipe.csv"]
    assert list(trials.condition) == ["plain", "distilled"]
    assert list(trials.compared_with.fillna("")) == ["", "plain"]
    frame = tables["lsq_ablation.csv"]
    assert len(frame) == 12
    against = dict(zip(frame.condition, frame.compared_with.fillna(""), strict=True))
    assert against == {
        "base": "",
        "3 bits": "base",
        "3 bits, decay 2.5e-5": "3 bits",
        "distilled": "base",
    }
    by = frame.set_index(["condition", "seed"])
    for condition, base in against.items():
        if not base:
            continue
        for seed in ABLATION_SEEDS:
            wanted = by.top1[condition, seed] - by.top1[base, seed]
            assert by.gain_pp[condition, seed] == pytest.approx(wanted)
    summary = tables["lsq_ablation_summary.csv"].set_index("condition")
    assert summary.gain_pp["distilled"] == pytest.approx(
        frame[frame.condition == "distilled"].gain_pp.mean()
    )
    assert pd.isna(summary.resolved["base"])
    quoted = lsq.numbers(tables)
    assert "lsq.ablation.3_bits_decay_2_5e_5.gain" in quoted
    assert quoted["lsq.recipe.distilled.gain"].runs == (
        trials.run.iloc[0],
        trials.run.iloc[1],
    )


def test_a_cost_is_the_candidates_time_over_the_unquantized_ones():
    spec = grid.cost_spec("resnet20", threads=2)
    key = f"{grid.STUDY}/b128"
    values = {
        f"ms/{key}": Value(110.0, "ms", "timing", 100.0, 120.0),
        f"ratio/same/{key}": Value(0.8, "ratio", "timing", 0.5, 1.0),
    }
    tables = lsq.tables([record(spec, Values(values))])
    row = tables["lsq_cost.csv"].iloc[0]
    assert (row.method, row.precision, row.compiled) == ("lsq", "bf16", True)
    assert (row.cost_ratio, row.cost_ratio_lo, row.cost_ratio_hi) == (1.25, 1.0, 2.0)
    quoted = lsq.numbers(tables)
    assert quoted["lsq.cost.t2.same.goal"].value == COST_GOAL
    assert quoted["lsq.cost.t2.same.goal_verdict"].value == "missed"


def test_an_unknown_task_is_named():
    spec = grid.core()[0]
    spec = replace(spec, params={**spec.params, "task": "guess"})
    with pytest.raises(ValueError, match="task 'guess' is not one of"):
        lsq.run(spec, None)


def test_every_width_has_its_own_recipe_and_trials_have_the_plain_one():
    assert list(grid.CHOSEN) == list(WIDTHS)
    assert next(iter(TRIALS)) == "plain" and TRIALS["plain"] == {
        "simulate": {},
        "recipe": {},
    }


def test_figures_are_drawn_from_what_tables_hold():
    def ablation():
        dev = baselines.dev("resnet8")
        for name in ("base", "3 bits", "3 bits, decay 2.5e-5", "muon"):
            for seed in ABLATION_SEEDS:
                spec = grid.lsq_spec(dev, "w2a2", condition=name, seed=seed)
                yield scored(spec, 0.7)

    dev = baselines.dev("resnet8")
    ratios = [
        record(
            grid.ratio_spec(dev, how),
            Values(
                {
                    f"ratio/{layer}.{kind}": Value(0.5 + i, "ratio", "stochastic")
                    for layer in ("conv1", "fc")
                    for kind in ("weight", "input")
                }
            ),
        )
        for i, how in enumerate(("full", "none"))
    ]
    parent = baselines.published("resnet20", seed=0)
    sized = [
        scored(grid.chosen_spec(parent, "w2a2"), 0.9, **kib(80)),
        scored(grid.evaluate_spec(parent, "fp32"), 0.93, **kib(1000)),
    ]
    tables = lsq.tables([*ablation(), *ratios, *sized])
    drawn = {figure.name: figure for figure in lsq.figures(tables)}
    assert list(drawn) == ["lsq_size", "lsq_ablation", "lsq_ratio"]
    assert "80 KiB" in drawn["lsq_size"].caption
    assert "build on 3 bits are held" in drawn["lsq_ablation"].caption
    assert "full: 0.5 to 0.5; none: 1.5 to 1.5" in drawn["lsq_ratio"].caption

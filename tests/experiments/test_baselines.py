"""Recipe trials: what is held out scores them, and what a summary may say of them."""

from dataclasses import replace

import numpy as np
import pytest

from qstudy.experiments import baselines
from qstudy.spec import Value, Values
from tests.experiments.records import record


def trial(condition, seed, top1):
    spec = baselines.recipe_trial("base", seed=seed)
    spec = replace(spec, params={**spec.params, "condition": condition})
    value = Value(top1, "%", "stochastic", top1 - 1, top1 + 1)
    return record(
        spec, Values({"top1": value}, arrays={"correct": np.zeros(5000, np.uint8)})
    )


def summary(gains):
    records = [trial("base", seed, 84.0 + seed) for seed in range(len(gains))]
    records += [
        trial("peak_lr 0.4", seed, 84.0 + seed + gain)
        for seed, gain in enumerate(gains)
    ]
    frame = baselines.tables(records)["recipe_summary.csv"]
    assert frame.condition.tolist() == ["base", "peak_lr 0.4"]
    return frame.iloc[1]


def test_gains_are_taken_seed_by_seed_with_an_interval():
    row = summary([0.4, 0.5, 0.6])
    assert row.gain_pp == pytest.approx(0.5)
    assert row.gain_lo == pytest.approx(0.5 - 4.302652730 * 0.1 / 3**0.5)
    assert row.resolved and row.n == 3
    assert not summary([0.5, -0.4, 0.1]).resolved


def test_one_seed_decides_nothing():
    row = summary([0.7])
    assert row.n == 1 and row.top1 == pytest.approx(84.7)
    assert row.gain_pp is None and not row.resolved


def test_conditions_are_compared_within_a_network():
    small = [trial("base", 0, 80.0), trial("peak_lr 0.4", 0, 81.0)]
    large = [
        replace(r, spec=replace(r.spec, params={**r.spec.params, "model": "resnet20"}))
        for r in (trial("base", 0, 90.0), trial("peak_lr 0.4", 0, 92.0))
    ]
    frame = baselines.tables([*small, *large])["recipe_summary.csv"]
    assert frame.model.tolist() == ["resnet20"] * 2 + ["resnet8"] * 2
    assert frame.top1.tolist() == [90, 92, 80, 81]


def test_a_step_is_compared_with_the_plain_one():
    from qstudy.experiments import baselines_cost

    spec = baselines.cost_spec("resnet8", threads=2, processes=2)
    values = {}
    for name, ms in zip(baselines_cost.CANDIDATES, (40, 30, 20, 10), strict=True):
        values[f"ms/{name}/b128"] = Value(ms, "ms", "timing", ms, ms)
        values[f"ratio/{baselines_cost.BASELINE}/{name}"] = Value(
            40 / ms, "ratio", "timing", 40 / ms, 40 / ms
        )
    made = baselines.tables([record(spec, Values(values=values))])
    frame = made["training_cost.csv"].set_index("candidate")
    assert frame.loc["bf16:channels_last"].images_per_second == 128 / 0.020
    assert frame.loc["bf16:channels_last:compiled"].ratio == 4
    assert frame.loc["bf16:channels_last:compiled"].compiled
    assert not frame.loc["bf16:channels_last"].compiled


def test_no_trial_sees_a_test_image():
    trials = [s for s in baselines.grid("full") if s.params["task"] == "recipe"]
    expected = sum(len(c) * len(seeds) for c, seeds in baselines.TRIALS.values())
    assert len(trials) == expected > 0
    assert {(s.params["split"], s.params["scored_on"]) for s in trials} == {
        ("train45k", "validation")
    }

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


def test_no_trial_sees_a_test_image():
    trials = [s for s in baselines.grid("full") if s.params["task"] == "recipe"]
    assert len(trials) == len(baselines.CONDITIONS) * len(baselines.RECIPE_SEEDS)
    assert {(s.params["split"], s.params["scored_on"]) for s in trials} == {
        ("train45k", "validation")
    }

"""Recipe trials: what is held out scores them, and what a summary may say of them."""

from dataclasses import replace

import numpy as np
import pytest

from qstudy.experiments import baselines
from qstudy.experiments.baselines.grid import (
    BASELINE,
    CANDIDATES,
    STUDY,
    cost_spec,
    recipe_smoke,
    recipe_trial,
)
from qstudy.experiments.baselines.recipe import NETWORKS, TRIALS
from qstudy.experiments.baselines.tasks_cost import training_step
from qstudy.measure import statistics
from qstudy.models import zoo
from qstudy.spec import Value, Values
from qstudy.study.runner import RunContext
from qstudy.study.store import Store
from tests.experiments.records import record


def trial(condition, seed, top1, **where):
    spec = recipe_trial("base", seed=seed, **where)
    spec = replace(spec, params={**spec.params, "condition": condition})
    values = {
        "top1": Value(top1, "%", "stochastic", top1 - 1, top1 + 1),
        "loss": Value(0.4, "nat", "stochastic"),
    }
    return record(spec, Values(values, arrays={"correct": np.zeros(5000, np.uint8)}))


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
        trial("base", 0, 90.0, model="resnet20"),
        trial("peak_lr 0.4", 0, 92.0, model="resnet20"),
    ]
    frame = baselines.tables([*small, *large])["recipe_summary.csv"]
    assert frame.model.tolist() == ["resnet20"] * 2 + ["resnet8"] * 2
    assert frame.top1.tolist() == [90, 92, 80, 81]


def test_a_gain_is_paired_image_by_image_with_the_base_of_its_setting():
    base, better = trial("base", 0, 50.0), trial("peak_lr 0.4", 0, 50.0)
    # bases of another setting, all wrong, with which nothing is to be compared
    others = [trial("base", 1, 50.0)]
    others += [trial("base", 0, 50.0, **o) for o in ({"threads": 2}, {"epochs": 9})]
    right = np.arange(5000) < 4000
    base = replace(base, arrays={"correct": right.astype(np.uint8)})
    # fifty images more, and none of those that the base knew lost
    better = replace(better, arrays={"correct": np.uint8(np.arange(5000) < 4050)})
    frame = baselines.tables([base, better, *others])["recipe.csv"]
    row = frame[frame.condition == "peak_lr 0.4"].iloc[0]
    assert row.gain_pp == pytest.approx(1.0)
    assert 0.6 < row.gain_lo < 1.0 < row.gain_hi < 1.4
    assert frame[frame.condition == "base"].gain_pp.isna().all()
    said = baselines.numbers({"recipe.csv": frame})
    assert list(said) == ["baselines.recipe.resnet8.e20.t1.peak_lr_0_4"]
    (gain,) = said.values()
    assert (gain.value, gain.low, gain.n) == (row.gain_pp, row.gain_lo, 5000)


def test_a_trial_without_a_base_has_no_gain():
    made = baselines.tables([trial("muon", 0, 90.0, epochs=100)])
    assert made["recipe.csv"].gain_pp.isna().all()
    assert made["recipe_summary.csv"].gain_pp.isna().all()


PARAMETERS = {"resnet8": 78042, "resnet14": 175258, "resnet20": 272474}


def network(model, seed, top1, stage="published"):
    spec = {"dev": baselines.dev, "published": baselines.published}[stage]
    values = {
        "top1": Value(top1, "%", "stochastic", top1 - 1, top1 + 1),
        "loss": Value(0.1, "nat", "stochastic"),
        "parameters": Value(PARAMETERS[model], "count", "exact"),
    }
    arrays = {"predictions": np.zeros(10, np.uint8)}
    return record(spec(model, seed=seed), Values(values, arrays=arrays))


def test_seeds_of_a_network_give_its_mean_and_range():
    records = [network("resnet20", seed, 92.0 + 0.3 * seed) for seed in range(3)]
    records += [network("resnet20", 0, 91.0, "dev"), network("resnet14", 0, 91.5)]
    made = baselines.tables(records)
    frame = made["baselines.csv"]
    assert frame.model.tolist() == ["resnet14", *["resnet20"] * 4]
    assert frame.stage.tolist() == ["published", "dev", *["published"] * 3]
    assert frame.split.tolist() == ["test", "validation", *["test"] * 3]
    said = baselines.numbers(made)
    key = "baselines.resnet20.published"
    assert said[f"{key}.top1"].value == 92.0 and said[f"{key}.top1"].low == 91.0
    assert said[f"{key}.top1_mean"].value == pytest.approx(92.3)
    assert (said[f"{key}.top1_min"].value, said[f"{key}.top1_max"].value) == (92, 92.6)
    assert len(said[f"{key}.top1_mean"].runs) == said[f"{key}.top1_mean"].n == 3
    assert "baselines.resnet14.published.top1_mean" not in said


def test_networks_are_listed_by_size_not_by_name():
    records = [network(model, 0, 90.0) for model in ("resnet20", "resnet8", "resnet14")]
    listed = baselines.tables(records)["baselines.csv"]
    assert listed.model.tolist() == ["resnet8", "resnet14", "resnet20"]


@pytest.mark.parametrize(
    ("tops", "verdict"),
    [((92.5, 92.6, 92.7), "reached"), ((92.5, 92.6, 92.6), "missed")],
)
def test_a_goal_is_for_the_mean_of_all_its_seeds(tops, verdict):
    records = [network("resnet20", seed, top1) for seed, top1 in enumerate(tops)]
    records += [network("resnet14", seed, 99.0) for seed in range(3)]
    records += [network("resnet8", seed, 99.0, "dev") for seed in range(3)]
    said = baselines.numbers(baselines.tables(records))
    assert said["baselines.resnet20.published.goal"].value == 92.6
    assert said["baselines.resnet20.published.goal_verdict"].value == verdict
    assert sum("goal" in key for key in said) == 2
    said = baselines.numbers(baselines.tables(records[:2]))
    assert not any("goal" in key for key in said)


def test_dev_and_published_differ_in_their_images_alone():
    dev, published = baselines.dev("resnet8").params, baselines.published("resnet8")
    assert dev["recipe"] == published.params["recipe"]
    assert (dev["split"], published.params["split"]) == ("train45k", "train")
    assert "scored_on" not in published.params


def test_a_step_is_compared_with_the_plain_one():

    spec = cost_spec("resnet8", threads=2, processes=2)
    values = {}
    times = (48, 40, 32, 24, 16, 12, 10, 20)
    for name, ms in zip(CANDIDATES, times, strict=True):
        values[f"ms/{name}/b128"] = Value(ms, "ms", "timing", ms, ms)
        values[f"ratio/{BASELINE}/{name}/b{spec.params['batch']}"] = Value(
            48 / ms, "ratio", "timing", 48 / ms - 1, 48 / ms + 1
        )
    made = baselines.tables([record(spec, Values(values=values))])
    frame = made["training_cost.csv"].set_index("candidate")
    compiled, study = "bf16:channels_last:compiled", "bf16:channels_last:kept:muon"
    assert frame.loc["bf16:channels_last"].images_per_second == 128 / 0.024
    assert frame.loc[compiled].ratio == 3
    assert [frame.loc[n].compiled for n in (compiled, study)] == [True, False]
    assert [frame.loc[n].kept_memory for n in (compiled, study)] == [False, True]
    assert [frame.loc[n].optimizer for n in (compiled, study)] == ["sgd", "muon"]
    said = baselines.numbers(made)
    ratio = said["baselines.cost.t2.bf16_channels_last_kept_muon.ratio"]
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2.4, 1.4, 3.4))
    plain = said["baselines.cost.t2.fp32_contiguous.images_per_second"]
    assert plain.value == pytest.approx(128 / 0.048)
    assert said["baselines.cost.t2.goal_verdict"].value == "reached"


def test_a_step_is_timed_alone_and_as_it_is_named(monkeypatch):
    from qstudy.training import loop, memory

    spec = cost_spec("resnet8", threads=1)
    assert spec.params["alone"] == list(CANDIDATES)
    told, steps = [], []
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: told.append(1) or True)
    monkeypatch.setattr(
        loop, "train_step", lambda _, updates, *data, recipe: steps.append(updates)
    )
    for name in (BASELINE, STUDY):
        training_step(name=name, model="resnet8", batch=2)()
        assert len(told) == (name == STUDY)
    assert [len(updates.optimizers) for updates in steps] == [1, 2]
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: False)
    with pytest.raises(RuntimeError, match="only glibc"):
        training_step(name=STUDY, model="resnet8", batch=2)


@pytest.mark.parametrize("stage", ["", "dev"])
def test_a_trial_keeps_its_network_where_it_has_a_stage(stage, tmp_path):
    spec = recipe_smoke()
    assert spec.params["stage"] == "dev"
    kept = {k: v for k, v in spec.params.items() if k != "stage" or stage}
    spec = replace(spec, params=kept)
    work = Store(tmp_path / "work")
    context = RunContext(work, Store(tmp_path / "results"), tmp_path / "resume")
    found = baselines.run(spec, context)
    assert set(found.arrays) == {"correct"}
    assert ("parameters" in found.values) == bool(stage)
    name = "resnet8-synthetic-fp32-dev-s0.safetensors" if stage else None
    assert found.checkpoint_name == name
    if stage:
        zoo.load_checkpoint(zoo.build("resnet8"), found.checkpoint)


def test_no_trial_sees_a_test_image():
    trials = [s for s in baselines.grid("full") if s.params["task"] == "recipe"]
    expected = [s for tried in TRIALS.values() for s in tried.values()]
    expected += list(NETWORKS["dev"].values())
    assert len(trials) == sum(map(len, expected)) > 0
    assert {(s.params["split"], s.params["scored_on"]) for s in trials} == {
        ("train45k", "validation")
    }


def test_the_figure_of_the_rules_shows_every_verdict_that_the_rules_give():
    (figure,) = baselines.figures({})
    verdicts = {
        claim: set(rows.verdict) for claim, rows in figure.data.groupby("claim")
    }
    every = {statistics.HOLDS, statistics.FAILS}
    unsure = {*every, statistics.UNDECIDED}
    assert verdicts == {
        "a quarter of the size": every,
        "2 to 4 times faster": {*unsure, statistics.HOLDS_ABOVE_4},
        "almost no drop": {*unsure, f"{statistics.HOLDS}, lossless"},
    }
    # A verdict is written beside the interval that it is of.
    drawn = [t.get_text() for axis in figure.figure.axes for t in axis.texts]
    assert drawn == list(figure.data.verdict)

"""The grid of trials, and what its records become."""

import numpy as np
import pytest

from qstudy.experiments import baselines, qat
from qstudy.experiments.qat.grid import finetune_spec, ptq_spec, qat_spec, trials
from qstudy.experiments.qat.recipe import RATES, SIMULATION, WIDTHS
from qstudy.methods.simulate import SimulateConfig
from qstudy.spec import Value, Values
from tests.experiments.records import record

DEV = baselines.dev("resnet20")


def test_trials_start_from_dev_and_never_see_a_test_image():
    specs = trials()
    assert len({s.key for s in specs}) == len(specs)
    for spec in specs:
        assert spec.params["parent"] == DEV.as_dict()
        assert (spec.params["split"], spec.params["scored_on"]) == (
            "train45k",
            "validation",
        )
    # Each rate has its control, so that training alone is told from rounding.
    tried = {r for rates in RATES.values() for r in rates}
    controls = [s for s in specs if s.params["method"] == "finetune"]
    assert {s.params["recipe"]["peak_lr"] for s in controls} == tried


@pytest.mark.parametrize("width", WIDTHS)
def test_the_key_holds_every_field_of_the_simulation(width):
    spec = qat_spec(DEV, width, peak_lr=0.01)
    config = SimulateConfig(**spec.params["simulate"])
    assert spec.params["simulate"] == vars(config)
    assert vars(config).items() >= {**SIMULATION, **WIDTHS[width]}.items()


def test_a_row_says_what_was_trained_and_how_well_it_did():
    rng = np.random.default_rng(0)
    made = []
    for spec in (
        qat_spec(DEV, "w4a4", peak_lr=0.05),
        finetune_spec(DEV, peak_lr=0.05),
        ptq_spec(DEV, "w4a4"),
    ):
        correct = (rng.random(5000) < 0.9).astype(np.uint8)
        top1 = 100 * float(correct.mean())
        values = {"top1": Value(top1, "%", "stochastic", top1 - 1, top1 + 1)}
        if spec.params["task"] == "train":
            values["loss"] = Value(0.1, "nat", "stochastic")
        made.append(record(spec, Values(values, arrays={"correct": correct})))
    frame = qat.tables(made)["qat_recipe.csv"]
    assert list(frame.method) == ["finetune", "qat", "static_int8"]
    assert list(frame.weight_bits) == [32, 4, 4]
    assert list(frame.peak_lr) == [0.05, 0.05, 0.0]
    assert set(frame.split) == {"validation"} and set(frame.n) == {5000}
    quoted = qat.numbers({"qat_recipe.csv": frame})
    key = "qat.recipe.resnet20.qat.w4a4.lr0.05.top1"
    assert quoted[key].value == frame.top1.iloc[1] and quoted[key].n == 5000
    assert quoted[key].runs == (frame.run.iloc[1],)


def test_an_unknown_task_is_named():
    spec = qat_spec(DEV, "w8a8", peak_lr=0.01)
    spec.params["task"] = "guess"
    with pytest.raises(ValueError, match="task 'guess' is not one of"):
        qat.run(spec, None)

"""Rules on the static sweeps, on made-up answers: verdicts, faults, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from qstudy.claims import entries
from qstudy.claims.faults import sweeps as faults_sweeps
from qstudy.claims.ledger import HOLDING, Evidence, judge, judge_control
from qstudy.claims.rules.sweeps import sweeps
from qstudy.experiments.baselines.recipe import DEPTHWISE
from qstudy.experiments.static import grid_depthwise, grid_sweeps
from qstudy.experiments.static.grid_sweeps import ORDERS
from qstudy.experiments.static.tables_parts import names
from qstudy.measure.statistics import FAILS, HOLDS, UNDECIDED
from qstudy.spec import Value, Values
from tests.experiments.records import record

JUDGED = {"weights", "activations", "variance", "partial", "models", "cures"}
SWEPT = [
    "deck.ptq.small",
    "deck.ptq.small_w4",
    *(claim.id for claim in entries.WU_SWEEPS),
    *(claim.id for claim in (*entries.NAGEL, *entries.NVIDIA)),
    *(claim.id for claim in entries.DEPTHWISE_LAYERS),
]


def made_up(lost):
    """Evidence of every sweep judged: `lost(params, name, seed)` of 1000 are lost.

    fp32 is right about 900 of them.
    """
    records = {}
    for spec in (*grid_sweeps.second(), *grid_depthwise.specs()):
        params = spec.params
        if params["task"] not in JUDGED:
            continue
        orders = {f"order.{r}": Value("a b c d e f", "text", "exact") for r in ORDERS}
        values = {"top1.fp32": Value(90.0, "%", "isa", 89.0, 91.0, 0.5), **orders}
        empty = record(spec, Values(values))
        seed = params["parent"]["seed"] + spec.seed
        losses = [0 if n == "fp32" else lost(params, n, seed) for n in names(empty)]
        right = [np.uint8(np.arange(1000) < 900 - loss) for loss in losses]
        one = record(spec, Values(values, arrays={"correct": np.stack(right)}))
        records[spec.key] = one
    return Evidence({}, records)


def nothing(params, name, seed):
    return 0


def as_the_papers_say(params, name, seed):
    """Little is lost by what is recommended, a tenth by the rest."""
    good = ("adaround", "equalized_bias", "entropy_nonzero", "99.99-", "one_out-6")
    if params["model"] == DEPTHWISE and params["task"] != "cures":
        return 100 if "per_tensor" in name else 0
    if params["task"] == "models":
        return 20 + seed if params["model"] == "resnet8" else seed
    if params["task"] == "weights":
        return 0
    return 1 if any(word in name for word in good) else 100


@pytest.mark.parametrize("name", SWEPT)
@pytest.mark.parametrize("lost", [as_the_papers_say, nothing])
def test_a_planted_fault_is_rejected_whatever_was_found(name, lost):
    claim, evidence = entries.by_id(name), made_up(lost)
    verdict = judge(claim, evidence).verdict
    assert judge_control(claim, evidence).startswith("rejected: ")
    if lost is as_the_papers_say:
        assert verdict == HOLDS
    else:
        # A gain that is not there is undecided; a loss that is not there is allowed.
        gains = "above 0" in claim.tolerance
        assert verdict == (UNDECIDED if gains else HOLDS)


@pytest.mark.parametrize("name", SWEPT)
def test_the_opposite_of_what_the_papers_say_fails(name):
    def opposite(params, condition, seed):
        return 150 - as_the_papers_say(params, condition, seed)

    claim, evidence = entries.by_id(name), made_up(opposite)
    if claim.id != "nvidia.images":
        assert judge(claim, evidence).verdict == FAILS
    assert judge_control(claim, evidence).startswith("rejected: ")


def test_more_images_that_save_more_are_told():
    def fewer(params, name, seed):
        return 30 - seed if name.endswith("-512") else 5

    found = judge(entries.by_id("nvidia.images"), made_up(fewer))
    assert found.verdict == FAILS
    (_, number) = found.figures[0]
    assert number.value == pytest.approx(2.05) and number.n == 10


def test_a_relative_drop_is_in_percent_of_fp32():
    found = judge(entries.by_id("wu.scale"), made_up(lambda *_: 9))
    assert found.figures[0][1].value == pytest.approx(1.0)
    assert found.figures[0][1].unit == "%" and found.verdict == UNDECIDED


def test_the_best_of_several_settings_is_named():
    def one(params, name, seed):
        return 0 if name == "affine-percentile-99.999-8" else 50

    found = judge(entries.by_id("wu.calibrators"), made_up(one))
    assert found.verdict == HOLDS
    assert found.figures[0][0] == "affine-percentile-99.999-8"


def test_one_seed_of_each_network_decides_nothing():
    evidence = made_up(as_the_papers_say)
    alone = {
        key: one
        for key, one in evidence.records.items()
        if one.spec.params["parent"]["seed"] == 0
    }
    found = judge(entries.by_id("deck.ptq.small"), replace(evidence, records=alone))
    assert (found.verdict, found.remark) == (UNDECIDED, "1 seed has no spread")


def test_a_sweep_scored_on_other_images_is_refused():
    evidence = made_up(nothing)
    leaked = faults_sweeps.other_images("cures", "resnet20")(evidence)
    found = judge(entries.by_id("nagel.four_bits"), leaked)
    assert found.verdict == UNDECIDED
    assert found.remark == "scored on train images, not on the test ones"


def test_faults_leave_their_evidence_as_it_was():
    evidence = made_up(nothing)
    before = {k: one.arrays["correct"].copy() for k, one in evidence.records.items()}
    for claim in SWEPT:
        judge_control(entries.by_id(claim), evidence)
    for key, one in evidence.records.items():
        assert np.array_equal(one.arrays["correct"], before[key])
    assert sweeps(evidence, "weights", "resnet20")


def test_every_judged_sweep_is_of_the_full_grid():
    """A rule that asks for a condition which nobody runs would never be measured."""
    evidence = made_up(as_the_papers_say)
    verdicts = {name: judge(entries.by_id(name), evidence).verdict for name in SWEPT}
    assert set(verdicts.values()) <= set(HOLDING), verdicts

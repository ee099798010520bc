"""The sweeps of the static chapter: their specs, and tables from records made up."""

import numpy as np
import pytest

from qstudy.experiments import baselines, static
from qstudy.experiments.static import grid_sweeps, numbers_sweeps, tables_sweeps
from qstudy.experiments.static.grid_sweeps import SWEEPS, label
from qstudy.experiments.static.tables_sweeps import kendall
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
    ("small", "said"), [(500, "holds"), (898, "undecided here"), (899, "fails")]
)
def test_the_verdict_on_small_models_is_by_the_two_intervals(small, said):
    large = 900 - (50 if said == "fails" else 3)
    records = [
        swept(grid_sweeps.models(baselines.published(m)), (900, 900, 900, right))
        for m, right in (("resnet20", large), ("resnet8", small))
    ]
    made = tables_sweeps.tables(records)
    frame = made["static_models.csv"]
    assert frame.model.tolist() == ["resnet8"] * 3 + ["resnet20"] * 3
    assert frame.drop_pp.tolist()[2] == pytest.approx((900 - small) / 10)
    quoted = numbers_sweeps.numbers(made)
    assert quoted["static.claim.small_models.w4a4"].value == said
    assert quoted["static.models.resnet8.w8a8.drop"].value == 0


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

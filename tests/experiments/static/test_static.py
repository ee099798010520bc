"""The static experiment: what is drawn for calibration, and its grid."""

import numpy as np
import pytest

from qstudy.experiments import baselines, static
from qstudy.experiments.evaluation import calibration_batches
from qstudy.experiments.static.grid import HEADLINE, evaluate_spec
from qstudy.spec import Value, Values, canonical_json
from qstudy.training.batches import normalise
from tests.experiments.records import record

IMAGES = np.zeros((200, 32, 32, 3), np.uint8)
IMAGES[:, 0, 0, 0] = np.arange(200)  # each image can be told by its first byte


def drawn(count, draw):
    batches = calibration_batches(IMAGES, count=count, draw=draw)
    table = normalise(IMAGES)[:, 0, 0, 0]
    return [int((table == v).nonzero()) for b in batches for v in b[:, 0, 0, 0]]


def test_calibration_images_are_drawn_once_each_by_the_draw():
    chosen = drawn(150, 0)
    assert len(set(chosen)) == len(chosen) == 150
    assert drawn(150, 0) == chosen != drawn(150, 1)
    assert sorted(drawn(200, 3)) == list(range(200))


@pytest.mark.parametrize("count", [0, -1, 201])
def test_a_count_outside_the_images_is_named(count):
    with pytest.raises(ValueError, match=f"calibration_images {count} is outside 1"):
        calibration_batches(IMAGES, count=count, draw=0)


def test_the_headline_is_in_every_grid_and_no_two_specs_are_alike():
    for mode in ("smoke", "quick", "full"):
        specs = static.grid(mode)
        assert len({s.key for s in specs}) == len(specs)
        evaluated = [s.params for s in specs if s.params["task"] == "evaluate"]
        assert any(HEADLINE.items() <= p.items() for p in evaluated)
        networks = {canonical_json(p["parent"]) for p in evaluated}
        assert sum(p["method"] == "fp32" for p in evaluated) == len(networks)


def test_the_full_grid_has_the_headline_of_every_seed_of_training():
    grid = {spec.key for spec in static.grid("full")}
    for seed in (0, 1, 2):
        parent = baselines.published(seed=seed)
        assert evaluate_spec(parent).key in grid
        assert evaluate_spec(parent, **HEADLINE).key in grid


def evaluated(seed, *, right, draw=0, **how):
    """The record of a network of `seed` that is right about the first images."""
    spec = evaluate_spec(baselines.published(seed=seed), draw=draw, **how)
    correct = np.uint8(np.arange(1000) < right)
    top1 = right / 10
    values = {
        "top1": Value(top1, "%", "isa", top1 - 1, top1 + 1, tolerance=0.3),
        "size_mib": Value(1.0 if not how else 0.25, "MiB", "exact"),
    }
    return record(spec, Values(values, arrays={"correct": correct}))


def test_the_drop_is_told_of_the_first_seed_and_its_range_over_all():
    records = []
    for seed, (fp32, int8) in enumerate(((920, 918), (925, 920), (930, 929))):
        records.append(evaluated(seed, right=fp32))
        records.append(evaluated(seed, right=int8, **HEADLINE))
    records.append(evaluated(0, right=900, draw=1, **HEADLINE))
    made = static.tables(records)
    seeds = made["static_seeds.csv"]
    assert seeds.seed.tolist() == [0, 1, 2]
    assert seeds.fp32_top1.tolist() == [92, 92.5, 93]
    assert seeds.drop_pp.tolist() == pytest.approx([0.2, 0.5, 0.1])
    said = static.numbers(made)
    assert said["static.resnet20.drop"].value == pytest.approx(0.2)
    assert said["static.resnet20.fp32_top1"].value == 92
    assert said["static.resnet20.top1_min"].value == 90
    assert said["static.resnet20.top1_max"].value == 91.8
    assert said["static.resnet20.drop_mean"].value == pytest.approx(0.8 / 3)
    assert said["static.resnet20.drop_max"].value == pytest.approx(0.5)
    assert said["static.resnet20.drop_min"].n == 3
    (drawn,) = (f for f in static.figures(made) if f.name == "static_drop")
    assert set(drawn.data.seed) == {0}


def test_the_resolved_drops_of_the_first_seed_are_counted_by_bit_width():
    narrow = {**HEADLINE, "activation_bits": 7}
    said = static.numbers(
        static.tables(
            [
                evaluated(0, right=920),
                evaluated(0, right=920, **HEADLINE),
                evaluated(0, right=900, draw=1, **HEADLINE),
                evaluated(0, right=940, draw=2, **HEADLINE),
                evaluated(0, right=890, **narrow),
                evaluated(1, right=920),
                evaluated(1, right=900, **HEADLINE),
            ]
        )
    )
    assert said["static.resnet20.runs_8bit"].value == 3
    assert said["static.resnet20.resolved_8bit"].value == 1
    assert said["static.resnet20.runs_7bit"].value == 1
    assert said["static.resnet20.resolved_7bit"].value == 1


def test_one_seed_has_no_range():
    made = static.tables([evaluated(0, right=920), evaluated(0, right=918, **HEADLINE)])
    assert made["static_seeds.csv"].seed.tolist() == [0]
    assert "static.resnet20.drop_mean" not in static.numbers(made)


def test_nothing_is_compiled_in_smoke_mode():
    timed = [s.params for s in static.grid("smoke") if s.params["task"] == "latency"]
    names = [name for p in timed for name in p["candidates"]]
    assert names and not any("compiled" in n or "pt2e" in n for n in names)

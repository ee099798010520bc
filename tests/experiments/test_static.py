"""The static experiment: what is drawn for calibration, and its grid."""

import numpy as np
import pytest

from qstudy.experiments import static
from qstudy.training.batches import normalise

IMAGES = np.zeros((200, 32, 32, 3), np.uint8)
IMAGES[:, 0, 0, 0] = np.arange(200)  # each image can be told by its first byte


def drawn(count, draw):
    batches = static.calibration_batches(IMAGES, count=count, draw=draw)
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
        static.calibration_batches(IMAGES, count=count, draw=0)


def test_the_headline_is_in_every_grid_and_no_two_specs_are_alike():
    for mode in ("smoke", "quick", "full"):
        specs = static.grid(mode)
        assert len({s.key for s in specs}) == len(specs)
        evaluated = [s.params for s in specs if s.params["task"] == "evaluate"]
        assert any(static.HEADLINE.items() <= p.items() for p in evaluated)
        assert sum(p["method"] == "fp32" for p in evaluated) == 1


def test_nothing_is_compiled_in_smoke_mode():
    timed = [s.params for s in static.grid("smoke") if s.params["task"] == "latency"]
    names = [name for p in timed for name in p["candidates"]]
    assert names and not any("compiled" in n or "pt2e" in n for n in names)

"""The pretrained network's run, on made-up weights and generated images."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from qstudy import data
from qstudy.experiments.static import (
    grid_transfer,
    numbers_kept,
    numbers_networks,
    tables_sweeps,
    tasks,
    tasks_transfer,
)
from qstudy.experiments.static.inputs import Enlarged, enlarge
from qstudy.measure.statistics import paired_drop
from qstudy.training.batches import normalise
from tests.experiments.records import record
from tests.models.test_efficientnet_lite import whole_state

# So few images calibrate what a test can wait for, and the made-up weights are odd.
pytestmark = pytest.mark.filterwarnings(
    "ignore::qstudy.methods.static.QuantizationWarning"
)


class Given:
    """A context whose pretrained weights are made up."""

    def __init__(self, folder):
        self.path = folder / "weights.safetensors"
        save_file(whole_state(), self.path)

    def images(self, dataset, split):
        images, labels = data.load(dataset, split)
        return images[:120], labels[:120]

    def pretrained(self, name):
        assert name == "efficientnet_lite0"
        return self.path

    @contextmanager
    def progress(self, total, description):
        steps = []
        yield steps.append
        assert len(steps) == total


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    spec = grid_transfer.transfer(
        dataset="synthetic", side=33, fitted_images=90, calibration_images=40, bits=(8,)
    )
    ctx = Given(tmp_path_factory.mktemp("weights"))
    return spec, tasks.run(spec, ctx)


def test_each_condition_is_scored_beside_fp32(found):
    spec, values = found
    frame = tables_sweeps.tables([record(spec, values)])["static_transfer.csv"]
    assert len(frame) == len(spec.params["conditions"]) == 4
    correct = values.arrays["correct"]
    assert correct.shape == (5, 120)
    for place, row in enumerate(frame.itertuples(), start=1):
        wanted = paired_drop(correct[0], correct[place], seed=0)
        assert (row.drop_pp, row.drop_lo) == (wanted.value, wanted.low)
        assert row.top1 == pytest.approx(100 * correct[place].mean())
        assert row.fp32_top1 == pytest.approx(100 * correct[0].mean())
    quoted = numbers_networks.numbers({"static_transfer.csv": frame})
    mse = frame[(frame.calibrator == "mse") & (frame.granularity == "per_tensor")]
    assert quoted["static.transfer.per_tensor.w8.drop"].value == mse.drop_pp.item()


def test_equalization_starts_from_the_network_that_transfer_rounds(
    found, tmp_path, one_thread
):
    """One scale a tensor, to nearest: the same answers."""
    values = found[1]
    wanted = values.arrays["predictions"][2]  # per tensor, mse
    conditions = [
        {"granularity": "per_tensor", "cure": cure} for cure in ("nearest", "equalized")
    ]
    shared = {"dataset": "synthetic", "side": 33, "fitted_images": 90}
    cured = grid_transfer.equalized(
        **shared, calibration_images=40, bias_images=8, conditions=conditions
    )
    made = tasks.run(cured, Given(tmp_path))
    told = made.arrays["predictions"]
    assert told.shape == (2 + 2, 120)
    assert (told[0] == values.arrays["predictions"][0]).all()
    assert (told[2] == wanted).all()
    frame = tables_sweeps.tables([record(cured, made)])["static_equalized.csv"]
    assert frame.cure.tolist() == ["unclamped", *(c["cure"] for c in conditions)]
    correct = made.arrays["correct"]
    for place, row in enumerate(frame.itertuples(), start=1):
        assert row.drop_pp == paired_drop(correct[0], correct[place], seed=0).value
    assert frame.weight_bits.tolist() == [32, 8, 8]
    quoted = numbers_kept.numbers({"static_equalized.csv": frame})
    assert {key.removeprefix("static.") for key in quoted} == {
        "equalized.fp32.unclamped.drop",
        *(f"equalized.per_tensor.{c['cure']}.drop" for c in conditions),
    }


def test_the_head_is_fitted_to_the_minimum_of_a_convex_loss():
    images, labels = data.load("synthetic", "train")

    class Pixels(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(48, 10)

        def features(self, x):
            return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)

    model = Pixels()
    some, wanted = images[:300], labels[:300]
    loss = tasks_transfer._fit(model, some, wanted, side=32, penalty=0.1)
    x = model.features(enlarge(normalise(some), 32)).double()
    spread = x.std(0)
    weight = (model.fc.weight.double() * spread).detach().requires_grad_()
    bias = model.fc.bias.double() + model.fc.weight.double() @ x.mean(0)
    bias = bias.detach().requires_grad_()
    logits = ((x - x.mean(0)) / spread) @ weight.T + bias
    cross = torch.nn.functional.cross_entropy(logits, torch.as_tensor(wanted).long())
    (cross + 0.05 * weight.square().sum()).backward()
    assert cross.item() == pytest.approx(loss, rel=1e-4)
    assert weight.grad.abs().max() < 1e-4
    assert bias.grad.abs().max() < 1e-4
    assert loss < np.log(10)


def test_pixels_are_enlarged_in_the_units_of_the_pretrained_network():
    flat = np.full((2, 32, 32, 3), 127, dtype=np.uint8)
    assert enlarge(normalise(flat), 97).shape == (2, 3, 97, 97)
    torch.testing.assert_close(
        enlarge(normalise(flat), 97), torch.zeros(2, 3, 97, 97), atol=1e-5, rtol=0
    )
    bright = np.full((1, 32, 32, 3), 255, dtype=np.uint8)
    seen = Enlarged(torch.nn.Identity(), 5)(normalise(bright))
    torch.testing.assert_close(seen, torch.ones(1, 3, 5, 5), atol=1e-5, rtol=0)

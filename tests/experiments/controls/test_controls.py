"""The faults are what their names say, and the sound quantizer is left alone."""

import numpy as np
import pytest
import torch
from torch import nn

from qstudy.experiments import baselines, controls
from qstudy.experiments.controls.grid import FAULTS, faulty, faulty_spec
from qstudy.experiments.controls.tasks import plant
from qstudy.methods import simulate
from qstudy.spec import Value, Values
from tests.experiments.records import record


class Small(nn.Module):
    """A convolution with its normalization, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.relu, self.fc = nn.ReLU(), nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.relu(self.bn(self.conv(x))).mean((2, 3)))


@pytest.fixture
def simulated():
    torch.manual_seed(0)
    batches = [torch.randn(8, 3, 8, 8)]
    network = simulate.simulate(Small().eval(), simulate.SimulateConfig())
    simulate.calibrate(network, batches, observer="minmax")
    return network


def test_without_a_fault_nothing_changes(simulated):
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    before = simulated(x)
    plant(simulated, "none")
    assert torch.equal(simulated(x), before)


def test_rounding_down_cuts_every_fraction_off(simulated):
    parts = list(simulate.quantizers(simulated).values())
    plant(simulated, "rounds_down")
    for quantizer in parts:
        parameters = quantizer.qparams()
        scale = parameters.scale.reshape(-1)[0]
        shape = (len(parameters.scale), 3) if parameters.scale.dim() else (3,)
        inside = torch.zeros(shape)
        inside[..., 1], inside[..., 2] = 0.9 * scale, 0.2 * scale
        got = quantizer(inside)
        # 0.9 of a step would be rounded up.
        assert got.reshape(-1)[:3].tolist() == [0.0, 0.0, 0.0]


def test_half_a_scale_is_half_of_the_activations_scale_alone(simulated):
    before = {
        path: q.qparams().scale.clone()
        for path, q in simulate.quantizers(simulated).items()
    }
    plant(simulated, "half_scale")
    for path, quantizer in simulate.quantizers(simulated).items():
        factor = 1.0 if path.endswith("weight_quantizer") else 0.5
        torch.testing.assert_close(quantizer.qparams().scale, before[path] * factor)


def test_an_unknown_fault_and_task_are_refused(simulated):
    with pytest.raises(ValueError, match="fault 'none at all' is not one of"):
        plant(simulated, "none at all")
    spec = faulty_spec(baselines.smoke(), "none")
    odd = type(spec)(**{**spec.as_dict(), "params": {**spec.params, "task": "x"}})
    with pytest.raises(ValueError, match="task 'x' is not one of"):
        controls.run(odd, None)


def test_a_network_for_each_fault_is_published_and_none_is_quick():
    assert [s.params["fault"] for s in faulty()] == list(FAULTS)
    assert controls.grid("full") == faulty()
    assert controls.grid("quick") == []


def test_the_table_pairs_each_fault_with_the_sound_network():
    made = []
    for spec, share in zip(faulty(), (0.9, 0.5, 0.6), strict=True):
        correct = (np.arange(1000) < 1000 * share).astype(np.uint8)
        top1 = Value(100 * share, "%", "isa", 100 * share - 1, 100 * share + 1)
        made.append(record(spec, Values({"top1": top1}, {"correct": correct})))
    frame = controls.tables(made)["controls.csv"].set_index("fault")
    assert frame.drop_pp["rounds_down"] == pytest.approx(40)
    assert np.isnan(frame.drop_pp["none"])
    assert set(frame.baseline_run.dropna()) == {faulty()[0].key}
    quoted = controls.numbers(controls.tables(made))
    assert quoted["controls.resnet20.half_scale.drop"].value == pytest.approx(30)

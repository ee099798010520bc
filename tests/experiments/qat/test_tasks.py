"""The tasks of the QAT chapter on a few generated images."""

from contextlib import nullcontext
from importlib import import_module

import numpy as np
import pytest
import torch

from qstudy.experiments import baselines, qat
from qstudy.experiments.qat.tasks_cost import training_step
from qstudy.measure.system import engines
from qstudy.methods import simulate
from qstudy.methods.convert import convert
from qstudy.models import zoo
from qstudy.training import loop
from qstudy.training.batches import normalise
from qstudy.training.resume import write_tensors
from tests.experiments.records import record
from tests.methods.networks import stir

specs = import_module("qstudy.experiments.qat.grid")
COUNT = 12
RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 10, COUNT, dtype=np.uint8)


class Given:
    """A context that gives the generated images and one checkpoint."""

    def __init__(self, checkpoint, resume):
        self.path, self.resume = checkpoint, resume

    def images(self, dataset, split):
        return IMAGES, LABELS

    def checkpoint(self, parent):
        return self.path

    def progress(self, total, description):
        return nullcontext(lambda told: None)


pytestmark = pytest.mark.usefixtures("one_thread")


def trained(width, folder):
    """A QAT run's spec and its network, calibrated in place of trained."""
    spec = specs.qat_spec(baselines.smoke(), width)
    config = simulate.SimulateConfig(**spec.params["simulate"])
    network = simulate.simulate(stir(zoo.build("resnet8", seed=2)), config)
    simulate.calibrate(network, [normalise(IMAGES)], observer="minmax")
    path = write_tensors(network.state_dict(), folder / "network.safetensors")
    return spec, network.eval(), path


def test_a_gap_counts_what_both_forms_say(tmp_path):
    spec, network, path = trained("w8a8", tmp_path)
    engine = engines()[0]
    asked = specs.gap_spec(spec, forms=(engine, "no_such_engine"), traced=4)
    values = qat.run(asked, Given(path, tmp_path))
    with torch.no_grad():
        both = [
            network(normalise(IMAGES)).argmax(1),
            convert(network, engine=engine)(normalise(IMAGES)).argmax(1),
        ]
    found = {name: value.value for name, value in values.values.items()}
    differ = int((both[0] != both[1]).sum())
    assert found[f"differ/{engine}"] == differ
    right = int((both[1].numpy() == LABELS).sum())
    assert found[f"top1/{engine}"] == pytest.approx(100 * right / COUNT)
    assert "differ/no_such_engine" not in found
    begins = [v for k, v in found.items() if k.startswith("begins/")]
    assert sum(begins) == min(differ, 4)
    # 15 kernels: input, 9 convolutions, 3 sums, pooling, linear; in calling order.
    numbered = {v: k for k, v in found.items() if k.startswith("number/")}
    assert len(numbered) == 15 and numbered[0] == "number/x"
    assert found["computed/pool"] == "average"
    made = qat.tables([record(asked, values)])
    assert len(made["qat_gap_layers.csv"]) == 15


def test_below_8_bits_the_integers_are_the_study_s_own(tmp_path):
    spec, _, path = trained("w4a4", tmp_path)
    asked = specs.gap_spec(spec, first=6, traced=2)
    found = qat.run(asked, Given(path, tmp_path))
    assert len(found.arrays["correct"]) == 6
    layer = "stage1.0.conv2.output"
    exact, rounded = (
        found.values[f"alone/integer_{name}/{layer}"].value
        for name in ("float32", "fixed_point")
    )
    assert exact < rounded  # biases are coarse at 4 bits
    with pytest.raises(ValueError, match="has kernels for 8 only"):
        qat.run(
            specs.gap_spec(spec, forms=engines()[:1], traced=2), Given(path, tmp_path)
        )


@pytest.mark.parametrize("name", ["fp32:fp32", "qat-w8a8:fp32", "torch_eager:fp32"])
def test_a_timed_step_is_a_step_of_training(name, monkeypatch):
    if name.startswith("torch"):
        pytest.importorskip("torch.ao.quantization", exc_type=ImportError)
    seen = []
    step_once = loop.train_step

    def look(forward, optimizer, x, y, *, recipe):
        loss = step_once(forward, optimizer, x, y, recipe=recipe)
        seen.append((type(forward).__name__, x.shape[0], float(loss)))
        return loss

    monkeypatch.setattr(loop, "train_step", look)
    step = training_step(name=name, model="resnet8", batch=8)
    for _ in range(2):
        step()
    assert [batch for _, batch, _ in seen] == [8, 8]
    assert seen[0][2] != seen[1][2]  # the weights have moved
    kind = {"fp32": "ResNet", "qat-w8a8": "SimulatedResNet"}
    assert seen[0][0] == kind.get(name.split(":")[0], "QuantizedResNet")


def test_a_step_by_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="method 'lsq' is not fp32"):
        training_step(name="lsq:fp32", model="resnet8", batch=8)

"""On the real images, where the cache holds them: CIFAR-10 is what the papers used, and
the published networks still predict what was published."""

import numpy as np
import pytest

from qstudy import data
from qstudy.experiments import baselines, static
from qstudy.experiments.static.grid import HEADLINE, evaluate_spec
from qstudy.measure import accuracy, system
from qstudy.models import zoo
from qstudy.study.runner import RunContext
from qstudy.study.store import Store
from qstudy.study.tree import repository
from qstudy.training.batches import CIFAR10_MEAN, CIFAR10_STD
from qstudy.training.loop import predict

cifar10 = next(s for s in data.state() if s.name == "CIFAR-10")
pytestmark = pytest.mark.skipif(
    not cifar10.present, reason="CIFAR-10 is not in the cache: 'qstudy data' gets it"
)
RESULTS = Store(repository() / "results")


def test_it_is_the_cifar10_of_the_papers():
    images, labels = data.load("cifar10", "train")
    assert labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert np.bincount(labels).tolist() == [5000] * 10
    pixels = images.reshape(-1, 3)[::7] / 255.0
    np.testing.assert_allclose(pixels.mean(0), CIFAR10_MEAN, atol=2e-3)
    np.testing.assert_allclose(pixels.std(0), CIFAR10_STD, atol=2e-3)
    _, labels = data.load("cifar10", "test")
    assert labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert np.bincount(labels).tolist() == [1000] * 10


def test_the_published_network_predicts_what_was_published():
    parent = RESULTS.read(baselines.published())
    record = RESULTS.read(evaluate_spec(parent.spec))
    model = zoo.build("resnet20")
    zoo.load_checkpoint(model, RESULTS.checkpoint(parent))
    images, _ = data.load("cifar10", "test")
    with system.threads(2):
        found = accuracy.classes(predict(model, images[:500]))
    differing = int((found != record.arrays["predictions"][:500]).sum())
    same = system.describe()["label"].endswith(record.machine.rpartition(",")[2])
    assert differing <= (0 if same else 2)


def test_a_quick_run_agrees_with_the_published_one(tmp_path):
    spec = evaluate_spec(baselines.published(), **HEADLINE)
    context = RunContext(Store(tmp_path), RESULTS, tmp_path / "resume")
    found = static.run(spec, context)
    published = RESULTS.read(spec)
    difference = found.values["top1"].value - published["top1"]
    assert abs(difference) <= published.values["top1"].tolerance
    assert found.values["size_mib"].value == published["size_mib"]
    assert context.origin == "from-checkpoint"
    assert set(context.inputs) == set(published.inputs)

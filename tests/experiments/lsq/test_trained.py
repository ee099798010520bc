"""A packed network of a results tree, one line away and the same to the last bit."""

from dataclasses import replace

import pytest
import torch

import qstudy
from qstudy.experiments import baselines
from qstudy.experiments.lsq.grid import chosen_spec
from qstudy.methods import lsq
from qstudy.methods.packed import packed_tensors
from qstudy.methods.simulate import LsqConfig, simulate
from qstudy.models import zoo
from qstudy.spec import Value, Values
from qstudy.study.store import Store
from qstudy.study.tree import StudyError
from qstudy.training.resume import write_tensors
from tests.experiments.records import record
from tests.methods.networks import stir


def test_it_is_loaded_by_its_method_and_bits(tmp_path):
    spec = chosen_spec(baselines.published("resnet8", seed=0), "w2a2")
    network = stir(zoo.build("resnet8", seed=4))
    simulated = simulate(network, LsqConfig(**spec.params["simulate"]))
    x = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    lsq.start(simulated, x)
    values = Values({"top1": Value(10.0, "%", "stochastic", 9.0, 11.0)})
    path = write_tensors(packed_tensors(simulated.eval()), tmp_path / "made")
    Store(tmp_path).write(
        replace(record(spec, values), machine=""),
        machine={"label": "machine, x86-64"},
        checkpoint=path,
        checkpoint_name="resnet8-cifar10-lsq-w2a2-published-s0.safetensors",
    )
    loaded = qstudy.load("resnet8", method="lsq-w2a2", results=tmp_path)
    assert not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(x), simulated(x))
    with pytest.raises(StudyError, match="resnet8 by lsq-w3a3, seed 0"):
        qstudy.load("resnet8", method="lsq-w3a3", results=tmp_path)

"""The tasks of the LSQ chapter that train nothing, on a few generated images."""

from importlib import import_module

import numpy as np
import pytest
import torch

from qstudy.experiments import baselines, lsq
from qstudy.experiments.lsq.recipe import FORMS
from qstudy.experiments.lsq.tasks_integers import integer_form
from qstudy.experiments.lsq.trained import network_of
from qstudy.measure.system import engines
from qstudy.methods import lsq as methods
from qstudy.methods import simulate
from qstudy.methods.packed import packed_tensors
from qstudy.models import zoo
from qstudy.training.batches import normalise
from qstudy.training.resume import write_tensors
from tests.experiments.qat.test_tasks import COUNT, IMAGES, LABELS, Given, trained
from tests.methods.networks import stir

grid = import_module("qstudy.experiments.lsq.grid")


pytestmark = pytest.mark.usefixtures("one_thread")


def learned(width, folder):
    """A run of learned steps, its network as started, and its packed file."""
    spec = grid.chosen_spec(baselines.smoke(), width)
    config = simulate.LsqConfig(**spec.params["simulate"])
    network = simulate.simulate(stir(zoo.build("resnet8", seed=2)), config)
    methods.start(network, normalise(IMAGES))
    path = write_tensors(packed_tensors(network.eval()), folder / "packed.safetensors")
    return spec, network, path


def predictions(network):
    with torch.no_grad():
        return network(normalise(IMAGES)).argmax(1).numpy()


@pytest.mark.parametrize("first", [None, 5])
def test_a_packed_file_is_scored_as_the_network_that_it_was(tmp_path, first):
    spec, network, path = learned("w3a3", tmp_path)
    asked = grid.evaluate_spec(spec, "lsq", first=first)
    found = lsq.run(asked, Given(path, tmp_path))
    count = first or COUNT
    wanted = predictions(network)[:count]
    assert np.array_equal(found.arrays["predictions"], wanted)
    right = int((wanted == LABELS[:count]).sum())
    assert found.values["top1"].value == pytest.approx(100 * right / count)
    # The file's own size, but for the name of the format in its header.
    assert 0 <= path.stat().st_size - found.values["size"].value * 1024 <= 32


def test_a_network_by_qat_is_scored_and_weighed_packed(tmp_path):
    spec, network, path = trained("w4a4", tmp_path)
    found = lsq.run(grid.evaluate_spec(spec, "qat"), Given(path, tmp_path))
    assert np.array_equal(found.arrays["predictions"], predictions(network))
    assert 1024 * found.values["size"].value < path.stat().st_size / 3


@pytest.mark.parametrize("width", ["w2a2", "w8a8"])
def test_integers_are_compared_form_by_form(tmp_path, width):
    spec, network, path = learned(width, tmp_path)
    forms = (*FORMS[width], "no_such_engine")
    asked = grid.integers_spec(spec, forms=forms, images=6)
    found = lsq.run(asked, Given(path, tmp_path)).values
    here = [f for f in FORMS[width] if f.startswith("integer") or f in engines()]
    assert found["examples"].value == 6
    assert [k for k in found if k.startswith("codes/")] == [f"codes/{f}" for f in here]
    for form in here:
        codes = found[f"codes/{form}"].value
        assert codes > 6 * 32 * 32 * 16
        assert found[f"alone/{form}"].value <= 0.02 * codes
        other = predictions(integer_form(network, form))[:6]
        differ = int((other != predictions(network)[:6]).sum())
        assert found[f"differ/{form}"].value == differ
    if width == "w2a2":
        assert found["alone/integer_wide"].value <= 1e-4 * codes
        assert found["logits/integer_wide"].value < 1e-4


def test_a_packed_file_of_another_width_is_refused(tmp_path):
    spec, _, path = learned("w3a3", tmp_path)
    other = grid.chosen_spec(baselines.smoke(), "w2a2")
    assert network_of(spec, path) is not None
    with pytest.raises(ValueError, match="does not fit"):
        network_of(other, path)

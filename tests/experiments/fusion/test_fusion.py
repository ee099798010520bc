"""The fusion experiment: its grid, and the ranges of networks of every origin."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from qstudy.experiments import fusion
from qstudy.experiments.fusion.grid import _spec
from qstudy.experiments.fusion.tasks import network
from qstudy.models import zoo
from qstudy.numerics import weights
from tests.models.test_efficientnet_lite import state


class Given:
    """A context that has one file of weights."""

    def __init__(self, folder, tensors):
        self.path = folder / "weights.safetensors"
        save_file({k: v.contiguous() for k, v in tensors.items()}, self.path)

    def pretrained(self, name):
        return self.path


def ranges(pretrained):
    return _spec("ranges", "third-party", None, pretrained=pretrained)


def test_efficientnet_is_read_with_its_own_epsilon(tmp_path):
    tensors = state()
    values = fusion.run(ranges("efficientnet_lite0"), Given(tmp_path, tensors)).values
    layer = "blocks.1.depthwise_conv"
    assert values[f"{layer}/inputs"].value == 1
    scale = tensors["_blocks.1._bn1.weight"] / torch.sqrt(
        tensors["_blocks.1._bn1.running_var"] + 1e-3
    )
    folded = tensors["_blocks.1._depthwise_conv.weight"] * scale[:, None, None, None]
    expected = weights.weight_ranges(folded).spread
    assert values[f"{layer}/fused/spread"].value == pytest.approx(expected, rel=1e-5)


def test_a_torchvision_network_is_read_too(tmp_path):
    tensors = zoo.build("resnet18", seed=3).state_dict()
    values = fusion.run(ranges("resnet18"), Given(tmp_path, tensors)).values
    layers = {name.split("/")[0] for name in values}
    assert len(layers) == sum(v.dim() == 4 for v in tensors.values())


def test_the_reader_may_name_other_weights():
    from qstudy.study.runner import with_parameters

    changed = {"pretrained": "mobilenet_v2"}
    specs = [with_parameters(s, changed) for s in fusion.grid("full")]
    touched = [s for s in specs if s not in fusion.grid("full")]
    assert [s.params["pretrained"] for s in touched] == ["mobilenet_v2"]


def test_every_spec_names_its_threads_and_no_two_are_alike():
    for mode in ("smoke", "quick", "full"):
        specs = fusion.grid(mode)
        assert all(s.params["threads"] >= 1 for s in specs)
        assert len({s.key for s in specs}) == len(specs)


def test_an_unknown_task_is_named(tmp_path):
    spec = _spec("guess", "resnet20", None)
    with pytest.raises(ValueError, match=r"task 'guess' is not one of"):
        fusion.run(spec, Given(tmp_path, {"a": torch.zeros(1)}))


def test_an_untrained_network_has_statistics_that_folding_can_see():
    model = network("resnet20")
    variances = [b.running_var for b in model.modules() if hasattr(b, "running_var")]
    assert not any(np.allclose(v.numpy(), 1.0) for v in variances)

"""The MobileNetV2 for 32x32 is the paper's network, at any width."""

import pytest
import torch
from torch import nn

from qstudy.data.torchvision_guard import import_torchvision
from qstudy.models.mobilenet import MobileNetV2, mobilenetv2_32


def kinds(model):
    return [type(m).__name__ for m in model.modules() if not list(m.children())]


@pytest.mark.parametrize("width", [0.25, 0.5, 1.0, 1.4])
def test_its_parameters_are_those_of_torchvision_s(width):
    theirs = import_torchvision().models.mobilenet_v2(width_mult=width, num_classes=10)
    ours = MobileNetV2(width=width)
    shapes = [tuple(p.shape) for p in ours.parameters()]
    assert shapes == [tuple(p.shape) for p in theirs.parameters()]


def test_it_computes_what_torchvision_s_does_at_its_own_strides():
    theirs = import_torchvision().models.mobilenet_v2(width_mult=0.5, num_classes=10)
    ours = MobileNetV2(width=0.5)
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    with torch.no_grad():
        for own, other in pairs:
            own.copy_(other)
    convolutions = [
        [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        for model in (ours, theirs)
    ]
    for own, other in zip(*convolutions, strict=True):
        own.stride = other.stride
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_four_by_four_is_left_before_the_pooling():
    model = mobilenetv2_32(width=0.25)
    x = model.head(model.blocks(model.stem(torch.zeros(2, 3, 32, 32))))
    assert x.shape == (2, 1280, 4, 4)


def test_every_call_has_a_module_of_its_own():
    model = mobilenetv2_32(width=0.5)
    relu = [m for m in model.modules() if isinstance(m, nn.ReLU6)]
    assert len(relu) == 1 + 16 * 2 + 1 + 1  # the first block has no expansion
    assert kinds(model).count("Add") == 10


def test_a_width_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"width 0 is outside 0\.1 to 2\.0"):
        mobilenetv2_32(width=0)

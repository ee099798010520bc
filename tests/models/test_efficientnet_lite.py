"""The pairs of EfficientNet-Lite0's state dict, on made-up tensors of its naming."""

import pytest
import torch

from qstudy.models.efficientnet_lite import convolutions


def state(*, expand=(False, True, True)):
    made = {}

    def conv(name, bn, *shape):
        made[f"{name}.weight"] = torch.randn(*shape)
        for vector in ("weight", "bias", "running_mean", "running_var"):
            made[f"{bn}.{vector}"] = torch.rand(shape[0])

    conv("_conv_stem", "_bn0", 8, 3, 3, 3)
    for block, expanded in enumerate(expand):
        prefix = f"_blocks.{block}."
        if expanded:
            conv(f"{prefix}_expand_conv", f"{prefix}_bn0", 16, 8, 1, 1)
        conv(f"{prefix}_depthwise_conv", f"{prefix}_bn1", 16, 1, 3, 3)
        conv(f"{prefix}_project_conv", f"{prefix}_bn2", 8, 16, 1, 1)
    conv("_conv_head", "_bn1", 32, 8, 1, 1)
    made["_fc.weight"] = torch.randn(10, 32)
    return made


def test_every_convolution_is_paired_with_its_own_normalisation():
    source = state()
    found = {conv.name: conv for conv in convolutions(source)}
    assert len(found) == sum(value.dim() == 4 for value in source.values())
    names = list(found)
    assert (names[0], names[-1]) == ("_conv_stem", "_conv_head")
    conv = found["blocks.1.depthwise_conv"]
    assert conv.weight is source["_blocks.1._depthwise_conv.weight"]
    assert conv.var is source["_blocks.1._bn1.running_var"]
    assert found["_conv_head"].gamma is source["_bn1.weight"]
    for conv in found.values():
        assert conv.gamma.shape == conv.mean.shape == conv.weight.shape[:1]


def test_ten_blocks_come_in_numerical_order():
    names = [c.name for c in convolutions(state(expand=[False] + [True] * 10))]
    blocks = [int(n.split(".")[1]) for n in names if n.startswith("blocks.")]
    assert blocks == sorted(blocks) and blocks[-1] == 10


def test_a_missing_tensor_is_named():
    source = state()
    del source["_blocks.2._bn1.running_var"]
    with pytest.raises(ValueError, match=r"_blocks\.2\._bn1\.running_var"):
        list(convolutions(source))

"""EfficientNet-Lite0 against itself in functions, on made-up tensors of its naming."""

import pytest
import torch
import torch.nn.functional as F

from qstudy.models.efficientnet_lite import convolutions, efficientnet_lite0, fill


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


# Repeats, kernel, stride, expansion, inputs, outputs: the authors' own notation.
BLOCKS = [
    "r1_k3_s1_e1_i32_o16",
    "r2_k3_s2_e6_i16_o24",
    "r2_k5_s2_e6_i24_o40",
    "r3_k3_s2_e6_i40_o80",
    "r3_k5_s1_e6_i80_o112",
    "r4_k5_s2_e6_i112_o192",
    "r1_k3_s1_e6_i192_o320",
]


def each_block():
    for text in BLOCKS:
        r, k, s, e, i, o = (int(part[1:]) for part in text.split("_"))
        for repeat in range(r):
            yield (k, s, e, i, o) if repeat == 0 else (k, 1, e, o, o)


def whole_state(classes=1000):
    generator = torch.Generator().manual_seed(0)
    made = {}

    def conv(name, bn, *shape):
        fan = shape[1] * shape[2] * shape[3]
        made[f"{name}.weight"] = torch.randn(*shape, generator=generator) / fan**0.5
        for vector in ("weight", "running_var"):
            made[f"{bn}.{vector}"] = 0.5 + torch.rand(shape[0], generator=generator)
        for vector in ("bias", "running_mean"):
            made[f"{bn}.{vector}"] = torch.randn(shape[0], generator=generator)

    conv("_conv_stem", "_bn0", 32, 3, 3, 3)
    for block, (k, _, e, i, o) in enumerate(each_block()):
        prefix = f"_blocks.{block}."
        if e > 1:
            conv(f"{prefix}_expand_conv", f"{prefix}_bn0", i * e, i, 1, 1)
        conv(f"{prefix}_depthwise_conv", f"{prefix}_bn1", i * e, 1, k, k)
        conv(f"{prefix}_project_conv", f"{prefix}_bn2", o, i * e, 1, 1)
    conv("_conv_head", "_bn1", 1280, 320, 1, 1)
    made["_fc.weight"] = torch.randn(classes, 1280, generator=generator) / 36
    made["_fc.bias"] = torch.randn(classes, generator=generator)
    return made


def plainly(state, x):
    """The network in functions, float64, padded as TensorFlow pads."""
    state = {name: tensor.double() for name, tensor in state.items()}

    def conv(x, name, bn, stride=1, *, depthwise=False):
        weight = state[f"{name}.weight"]
        size, side = weight.shape[-1], x.shape[-1]
        wanted = max((-(-side // stride) - 1) * stride + size - side, 0)
        before = wanted // 2
        x = F.pad(x, (before, wanted - before) * 2)
        groups = len(weight) if depthwise else 1
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        told = [state[f"{bn}.{n}"] for n in ("running_mean", "running_var")]
        told += [state[f"{bn}.{n}"] for n in ("weight", "bias")]
        return F.batch_norm(x, *told, eps=1e-3)

    x = conv(x, "_conv_stem", "_bn0", 2).clamp(0, 6)
    for block, (_, s, e, i, o) in enumerate(each_block()):
        y, p = x, f"_blocks.{block}."
        if e > 1:
            y = conv(y, f"{p}_expand_conv", f"{p}_bn0").clamp(0, 6)
        y = conv(y, f"{p}_depthwise_conv", f"{p}_bn1", s, depthwise=True).clamp(0, 6)
        y = conv(y, f"{p}_project_conv", f"{p}_bn2")
        x = y + x if s == 1 and i == o else y
    x = conv(x, "_conv_head", "_bn1").clamp(0, 6).mean((2, 3))
    return F.linear(x, state["_fc.weight"], state["_fc.bias"])


@pytest.fixture(scope="module")
def published():
    state = whole_state()
    model = efficientnet_lite0()
    fill(model, state)
    return state, model.double().eval()


def test_it_has_the_parameters_that_its_authors_state(published):
    _, model = published
    assert sum(p.numel() for p in model.parameters()) == 4_652_008


@pytest.mark.parametrize("side", [65, 97])
def test_it_computes_what_tensorflow_s_padding_gives_at_sides_of_32_k_plus_1(
    side, published
):
    state, model = published
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, side, side, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), plainly(state, x), rtol=1e-9, atol=1e-9)


def test_at_other_sides_the_padding_is_on_the_other_side(published):
    state, model = published
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 3, 64, 64, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        assert not torch.allclose(model(x), plainly(state, x), rtol=1e-3)


def test_another_head_keeps_its_own_weights_and_the_features_are_the_same(published):
    state, model = published
    other = efficientnet_lite0(classes=10, seed=3)
    before = other.fc.weight.clone()
    fill(other, state)
    assert torch.equal(other.fc.weight, before)
    x = torch.zeros(1, 3, 33, 33)
    with torch.inference_mode():
        own = other.eval().features(x)
        assert torch.allclose(own.double(), model.features(x.double()), atol=1e-4)


def test_a_state_dict_of_another_network_is_refused():
    with pytest.raises(ValueError, match="has 10 convolutions, EfficientNet-Lite0 49"):
        fill(efficientnet_lite0(), state())
    wrong = whole_state()
    wrong["_conv_stem.weight"] = wrong["_conv_stem.weight"][:, :, :1]
    with pytest.raises(ValueError, match=r"_conv_stem has the shape \(32, 3, 1, 3\)"):
        fill(efficientnet_lite0(), wrong)

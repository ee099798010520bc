"""A simulated network in this study's own integers, at 8 bits and below."""

import pytest
import torch
from torch import nn

from qstudy.measure.system import engines
from qstudy.methods.agreement import KernelAgreement, agreement, rounds_bias
from qstudy.methods.causes import (
    CARRIED,
    CAUSES,
    CLIPPED,
    FLOAT_ORDER,
    MULTIPLIER,
    ROUNDED_BIAS,
    SATURATION,
    TIE,
)
from qstudy.methods.convert import convert
from qstudy.methods.integer.simulated import ARITHMETICS, IntegerNetwork
from qstudy.methods.simulate import SimulateConfig, layers, simulate
from tests.methods.integer.test_integer_network import sums_in_16_bits


def simulated(network, images, *, bits, **changes):
    config = SimulateConfig(weight_bits=bits, activation_bits=bits, **changes)
    return simulate(network, config, calibration=[images]).eval()


@pytest.mark.parametrize("strategy", ["none", "two_pass"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_in_float32_it_gives_the_simulated_codes_but_at_ties(
    resnet8, images, bits, strategy
):
    made = simulated(resnet8, images, bits=bits, bn_strategy=strategy)
    network = IntegerNetwork(made, arithmetic="float32")
    found = agreement(made, network, images)
    # Below 8 bits four blocks' inputs and the linear layer's are rounded once more.
    assert len(found.kernels) >= 1 + 9 + 3 + 1 + 1
    for kernel in found.kernels:
        lost = kernel.clipped > 0
        assert lost or sum(kernel.alone.values()) <= 1e-4 * kernel.values + 2
        cause = kernel.cause(rounds_bias=rounds_bias(network))
        assert cause in (None, CARRIED, FLOAT_ORDER, TIE, *([CLIPPED] if lost else []))
    assert found.predictions <= (1 if strategy == "two_pass" else 8)


@pytest.mark.parametrize("engine", ["fbgemm"])
def test_at_8_bits_it_is_the_engine_s_own_answer(resnet8, images, engine):
    if engine not in engines() or sums_in_16_bits(engine):
        pytest.skip(f"{engine} is not here, or saturates sums on this machine")
    made = simulated(resnet8, images, bits=8)
    ours = IntegerNetwork(made, arithmetic="float32")(images)
    assert len(ours.unique()) > 20
    assert torch.equal(ours, convert(made, engine=engine)(images))


@pytest.mark.parametrize("bits", [4, 8])
def test_what_rounded_biases_do_is_within_its_bound(resnet8, images, bits):
    """|bias error| <= s_x s_w / 2, in steps of the result; beside it only near-ties."""
    made = simulated(resnet8, images, bits=bits, bn_strategy="two_pass")
    network = IntegerNetwork(made, arithmetic="fixed_point")
    kernels = {k.name: k for k in agreement(made, network, images).kernels}
    seen = 0
    for (path, before), layer in network.layers.items():
        kernel = kernels[f"{path}.output"]
        place = f"activation_quantizers.{path.replace('.', '_')}"
        step = made.get_submodule(place).qparams().scale.item()
        bound = before.scale * layer.weight_scale.max().item() / (2 * step)
        if kernel.from_tie is not None:
            seen += 1
            assert kernel.from_tie <= bound + 1e-4
            assert kernel.cause(rounds_bias=True) == ROUNDED_BIAS
            assert kernel.from_tie > 1e-5
    assert seen >= 5
    for name, kernel in kernels.items():
        if ".add" in name or name == "pool":
            assert kernel.from_tie is None or kernel.from_tie < 1e-5


def test_without_biases_integers_alone_agree_but_at_ties(images):
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    made = simulated(made.eval(), images, bits=4, first_last_bits=4)
    network = IntegerNetwork(made, arithmetic="fixed_point")
    found = agreement(made, network, images)
    off = [k.name for k in found.kernels if sum(k.alone.values()) > 3]
    # A mean of codes is rounded away from zero at ties, where the engines go to even.
    assert set(off) <= {"3"}
    assert network(images).shape == (8, 4)


def test_a_cause_follows_from_kernel_distance_and_implementation():
    def cause(computed, distance, *, rounds, clipped=0, free=None):
        free = {1: 1} if free is None else free
        kernel = KernelAgreement("a", 9, free, {}, distance, computed, clipped)
        return kernel.cause(rounds_bias=rounds)

    assert cause("layer", None, rounds=False, free={}) is None
    assert cause("layer", None, rounds=True) == CARRIED
    assert cause("layer", 1e-6, rounds=False) == FLOAT_ORDER
    assert cause("layer", 0.01, rounds=False) == SATURATION
    assert cause("layer", 0.01, rounds=False, clipped=1) == CLIPPED
    assert cause("layer", 0.01, rounds=True) == ROUNDED_BIAS
    assert cause("average", 1e-6, rounds=True) == TIE
    assert cause("other", 0.0, rounds=False) == TIE
    assert cause("other", 1e-4, rounds=True) == MULTIPLIER
    # Two units in the last place of a sum of 255 steps.
    assert cause("other", 3e-5, rounds=False) == FLOAT_ORDER
    assert cause("other", 3e-5, rounds=True) == MULTIPLIER
    assert cause("other", 0.01, rounds=False) == SATURATION
    assert cause("other", 1e-6, rounds=True) == FLOAT_ORDER
    assert len(CAUSES) == len({*CAUSES}) == 7
    with pytest.raises(ValueError, match="computed 'pool' is not one of"):
        cause("pool", 0.0, rounds=True)


def test_a_weight_without_an_integer_code_is_counted(resnet8, images):
    """Strategy "none" negates a channel's codes: -128 has no counterpart in int8."""
    made = simulated(resnet8, images, bits=8, bn_strategy="none")
    converted = IntegerNetwork(made, arithmetic="float32")
    kernels = {k.name: k for k in agreement(made, converted, images).kernels}
    counted = 0
    for path, layer in layers(made).items():
        if not hasattr(layer, "bn"):
            continue
        lows = layer.conv.weight.flatten(1).min(1).values
        highs = layer.conv.weight.flatten(1).max(1).values
        clipped = (-lows > highs) & (layer.bn.weight < 0)
        assert kernels[f"{path}.output"].clipped <= 9 * 64 * int(clipped.sum())
        counted += kernels[f"{path}.output"].clipped
    assert counted > 0


def test_what_it_cannot_read_is_refused_in_one_line(resnet8, images):
    made = simulated(resnet8, images, bits=4)
    cases = [
        (resnet8, "float32", "was not made by simulate"),
        (made, "exact", "arithmetic 'exact' is not one of"),
        (simulate(resnet8, SimulateConfig()).eval(), "float32", "has no range"),
    ]
    for network, arithmetic, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            IntegerNetwork(network, arithmetic=arithmetic)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="is in train mode"):
        IntegerNetwork(made.train(), arithmetic="float32")
    for layer, message in (
        (nn.Conv2d(3, 6, 3, groups=3), "a convolution has groups 3"),
        (nn.AvgPool2d(2), "has no integer form here"),
    ):
        network = nn.Sequential(nn.Conv2d(3, 3, 1), layer).eval()
        other = simulated(network, images, bits=4)
        for arithmetic in ARITHMETICS:
            with pytest.raises(ValueError, match=message):
                IntegerNetwork(other, arithmetic=arithmetic)(images)

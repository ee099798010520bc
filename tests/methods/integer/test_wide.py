"""A network with learned steps in integers alone: the simulated codes, but at ties."""

import pytest
import torch
from torch import nn

from qstudy.methods import lsq
from qstudy.methods.agreement import agreement, rounds_bias
from qstudy.methods.causes import CARRIED, FLOAT_ORDER, TIE
from qstudy.methods.integer import wide
from qstudy.methods.integer.wide import FRACTION, WideNetwork
from qstudy.methods.simulate import LsqConfig, SimulateConfig, simulate
from tests.methods.integer.test_integer_network import Watcher, floats


def learned(network, images, *, bits, **changes):
    config = LsqConfig(weight_bits=bits, activation_bits=bits, **changes)
    made = simulate(network, config)
    lsq.start(made, images)
    return made.eval()


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_it_gives_the_simulated_codes_but_at_ties(resnet8, images, bits, granularity):
    made = learned(resnet8, images, bits=bits, granularity=granularity)
    network = WideNetwork(made)
    found = agreement(made, network, images)
    # The input of each of the 7 layers that no shortcut shares, and of the first.
    assert len(found.kernels) == 8
    assert sum(k.values for k in found.kernels) > 100_000
    for kernel in found.kernels:
        assert sum(kernel.alone.values()) <= 1e-4 * kernel.values + 1
        assert kernel.from_tie is None or kernel.from_tie < 1e-4
        cause = kernel.cause(rounds_bias=rounds_bias(network))
        assert cause in (None, CARRIED, FLOAT_ORDER, TIE)
    # The same codes give the same logits, to what a float32 and 2^-FRACTION can tell.
    assert found.logits < 1e-4
    assert len(network(images).unique()) > 20


def test_with_the_codes_forced_logits_are_the_integers_own(resnet8, images):
    """Sums of products of codes, by hand, times their steps: nothing else."""
    made = learned(resnet8, images, bits=2)
    network = WideNetwork(made)
    seen = {}
    logits = network.run(images, lambda path, codes: seen.setdefault(path, codes))
    fc, codes = made.fc, seen["activation_quantizers.fc_input"].double()
    weight = torch.round(fc.layer.weight / fc.weight_quantizer.step).clamp(-128, 127)
    sums = codes.flatten(1) @ weight.double().t()
    step = made.activation_quantizers.fc_input.step.double()
    by_hand = sums * step * fc.weight_quantizer.step.double() + fc.layer.bias.double()
    torch.testing.assert_close(
        logits.double(), by_hand, rtol=0, atol=2.0**-FRACTION + 1e-7
    )


def test_no_float_lies_between_the_codes_of_the_input_and_the_logits(
    resnet8, images, monkeypatch
):
    network = WideNetwork(learned(resnet8, images, bits=2))
    given = {}
    logits = network.wide_logits(images, lambda path, c: given.setdefault(path, c))
    # Once more, from the codes of the images in place of the images.
    monkeypatch.setattr(wide, "quantize", lambda codes, qparams: codes)
    first = next(iter(given.values()))
    with Watcher() as watcher:
        again = network.wide_logits(first, lambda path, codes: codes)
    assert torch.equal(again, logits)
    assert floats(watcher.seen) == set()
    assert {torch.int8, torch.int32, torch.int64} <= watcher.seen.keys()


def test_codes_of_two_bits_lie_in_int8(resnet8, images):
    network = WideNetwork(learned(resnet8, images, bits=2))
    inner = [layer for path, layer in network.layers.items() if "stage" in path]
    assert {layer.weight.dtype for layer in inner} == {torch.int8}
    codes = torch.cat([layer.weight.flatten() for layer in inner]).unique()
    assert codes.tolist() == [-2, -1, 0, 1]


def test_a_coarser_fraction_is_told_apart(resnet8, images, monkeypatch):
    """What the test of codes would see, were the wide values not wide enough."""
    monkeypatch.setattr(wide, "FRACTION", 6)
    made = learned(resnet8, images, bits=4)
    found = agreement(made, WideNetwork(made), images)
    assert max(k.from_tie or 0 for k in found.kernels) > 1e-3


def test_what_it_cannot_compute_is_refused_in_one_line(resnet8, images):
    cases = [
        (resnet8, "was not made by simulate"),
        (simulate(resnet8, SimulateConfig()).eval(), "placement 'outputs' rounds sums"),
        (simulate(resnet8, LsqConfig()).eval(), "has no step"),
        (learned(resnet8, images, bits=2).train(), "is in train mode"),
        (learned(resnet8, images, bits=2, offset=True), "has learned an offset"),
    ]
    for network, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            WideNetwork(network)
        assert "\n" not in str(error.value)
    pooled = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 2, 1)
    ).eval()
    network = WideNetwork(learned(pooled, images, bits=4))
    with pytest.raises(ValueError, match="'_2' has no integer form here"):
        network(images)


def test_a_value_that_leaves_int32_is_an_error(resnet8, images):
    made = learned(resnet8, images, bits=4)
    with torch.no_grad():
        made.fc.layer.bias.fill_(2.0 ** (31 - FRACTION))
    with pytest.raises(ValueError, match="a bias in wide units"):
        WideNetwork(made)

"""The cures: what each promises of any network, and of its own objective."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qstudy.methods import static
from qstudy.methods.simulate import (
    SimulateConfig,
    calibrate,
    folded_layers,
    in_float,
    layers,
    simulate,
)
from qstudy.methods.static.adaround import AdaRoundConfig, Moments, gather, learn
from qstudy.methods.static.bias_correction import layer_mean
from qstudy.methods.static.equalize import find_layer_pairs
from qstudy.models import zoo
from qstudy.numerics.mapping import code_range
from tests.methods.networks import stir

IMAGES = torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def resnet8():
    return stir(zoo.build("resnet8"))


def simulated(model, **changes):
    how = {"weight_bits": 3, "granularity": "per_tensor"} | changes
    made = simulate(model.eval(), SimulateConfig(**how)).eval()
    calibrate(made, [IMAGES], observer="minmax")
    return made


def answers(network, x=IMAGES):
    with torch.no_grad():
        return network(x)


def test_equalized_networks_compute_what_they_did(resnet8):
    torch.testing.assert_close(
        answers(static.equalize(resnet8)), answers(resnet8), rtol=1e-4, atol=1e-5
    )


def clamped():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            *(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU6()),
            *(nn.Conv2d(8, 8, 3, groups=8), nn.ReLU6(), nn.Conv2d(8, 4, 1)),
        )


def test_without_clamps_a_depthwise_chain_can_be_equalized():
    model = stir(clamped())
    assert not find_layer_pairs(static.equalize(model))
    unclamped = static.without_clamps(model)
    assert isinstance(model[2], nn.ReLU6) and type(unclamped[2]) is nn.ReLU
    pairs = find_layer_pairs(static.equalize(unclamped))
    assert [(p.first, p.second) for p in pairs] == [("0", "3"), ("3", "5")]
    # Alike where nothing reaches 6, not alike where something does.
    small, large = IMAGES * 1e-3, IMAGES * 1e3
    assert torch.equal(answers(unclamped, small), answers(model, small))
    assert not torch.equal(answers(unclamped, large), answers(model, large))
    with pytest.raises(ValueError, match="Sequential has no module ReLU6"):
        static.without_clamps(unclamped)


def test_a_depthwise_chain_is_equalized_and_computes_what_it_did():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 16, 3, groups=8), nn.ReLU(), nn.Conv2d(16, 4, 1)),
        )
    stir(model)
    with torch.no_grad():
        model[0].weight.mul_(torch.logspace(-2, 2, 8).reshape(-1, 1, 1, 1))
    equalized = static.equalize(model)
    torch.testing.assert_close(answers(equalized), answers(model), rtol=1e-4, atol=1e-3)
    pairs = find_layer_pairs(equalized)
    assert [(p.first, p.second) for p in pairs] == [("0", "3"), ("3", "5")]
    made = equalized[0].weight.abs().flatten(1).amax(1)
    read = equalized[3].weight.reshape(8, -1).abs().amax(1)
    # What makes a channel and what reads it reach as far: the optimality condition.
    torch.testing.assert_close(made, read, rtol=1e-3, atol=1e-6)


def test_a_clamp_from_above_and_a_second_reader_end_a_chain():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
            self.c, self.d = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.relu6 = nn.ReLU6()

        def forward(self, x):
            x = self.relu6(self.a(x))
            x = torch.relu(self.b(x))
            return self.c(x) + self.d(x)

    assert find_layer_pairs(Forked().eval()) == []


def test_a_dead_channel_has_nothing_to_trade():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    with torch.no_grad():
        model[0].weight[1], model[2].weight[:, 2] = 0, 0
    equalized = static.equalize(model)
    torch.testing.assert_close(answers(equalized), answers(model))
    assert torch.equal(equalized[0].weight[2], model[0].weight[2])
    with pytest.raises(ValueError, match="rounds 0 is below 1"):
        static.equalize(model, rounds=0)


@pytest.mark.parametrize("bias", [True, False])
def test_corrected_biases_leave_no_mean_error_in_any_layer(bias):
    model = stir(zoo.build("resnet8"))
    model.fc = nn.Linear(64, 10, bias=bias)
    rounded = simulated(model)
    corrected = static.correct_biases(rounded, [IMAGES[:16], IMAGES[16:]])
    real = folded_layers(rounded)

    def errors(network):
        found, wanted = layers(network), layers(real)
        with torch.no_grad():
            for path in found:
                with in_float(real):
                    mean = layer_mean(real, wanted[path], [IMAGES])
                yield (layer_mean(network, found[path], [IMAGES]) - mean).abs().max()

    assert max(errors(folded_layers(rounded))) > 0.01
    assert max(errors(corrected)) < 1e-4
    assert (answers(corrected) - answers(model)).square().mean() < (
        answers(rounded) - answers(model)
    ).square().mean()


def test_adaround_is_no_worse_than_nearest_in_any_channel_and_ends_binary(resnet8):
    rounded = simulated(resnet8)
    learned = static.adaround(rounded, [IMAGES], config=AdaRoundConfig(steps=60))
    nearest, found = folded_layers(rounded), layers(learned)
    real = folded_layers(rounded)
    moved = 0
    for path, layer in layers(nearest).items():
        qparams = layer.weight_quantizer.qparams()
        codes = found[path].layer.weight / qparams.scale
        assert (codes - codes.round()).abs().max() < 1e-4
        up = (codes - torch.floor(layer.layer.weight / qparams.scale)).round()
        inside = (codes.round() > qparams.codes.low) & (
            codes.round() < qparams.codes.high
        )
        assert set(up[inside].unique().tolist()) <= {0.0, 1.0}
        moved += int(
            (codes.round() != (layer.layer.weight / qparams.scale).round()).sum()
        )
        torch.testing.assert_close(
            found[path].weight_quantizer(found[path].layer.weight),
            found[path].layer.weight,
        )
    assert moved > 100
    first = gather(
        real, layers(real)["conv1"], nearest, layers(nearest)["conv1"], [IMAGES]
    )
    weight = layers(real)["conv1"].layer.weight.reshape(1, 16, -1)
    before = layers(nearest)["conv1"].weight_quantizer(weight.reshape(16, 3, 3, 3))
    after = found["conv1"].layer.weight.reshape(1, 16, -1)
    errors = [first.error(weight, w.reshape(1, 16, -1)) for w in (before, after)]
    assert bool((errors[1] <= errors[0] + 1e-6).all())
    assert errors[1].sum() < errors[0].sum()


def test_the_moments_are_the_error_of_the_layer_itself():
    """The quadratic form against the convolution that it stands for."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), conv).eval()
    rounded = simulated(model, weight_bits=2, first_last_bits=2)
    real, near = folded_layers(rounded), folded_layers(rounded)
    moments = gather(real, layers(real)["2"], near, layers(near)["2"], [IMAGES])
    other = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    seen = []
    for network in (real, near):
        layers(network)["2"].register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    with torch.no_grad():
        with in_float(real):
            real(IMAGES)
        near(IMAGES)
        wanted = conv._conv_forward(seen[0], conv.weight, None)
        got = conv._conv_forward(seen[1], other, None)
    error = (wanted - got).square().mean((0, 2, 3))
    told = moments.error(conv.weight.reshape(2, 3, -1), other.reshape(2, 3, -1))
    torch.testing.assert_close(told.flatten(), error, rtol=1e-3, atol=1e-4)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000))
def test_learned_rounding_comes_near_the_best_of_all(seed):
    """Against every one of the 2^6 roundings of a small channel."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(200, 6, generator=generator) @ torch.randn(
        6, 6, generator=generator
    )
    gram = (x.T @ x / 200)[None]
    moments = Moments(gram, gram, gram)
    weight, scale = torch.randn(1, 1, 6, generator=generator), torch.tensor(0.5)
    codes = code_range(6)
    floor = torch.floor(weight / scale)
    every = [
        moments.error(weight, (floor + torch.tensor(up).float()) * scale).item()
        for up in itertools.product((0, 1), repeat=6)
    ]
    chosen = learn(weight, scale, codes, moments, AdaRoundConfig(steps=400))
    nearest = moments.error(weight, torch.round(weight / scale) * scale).item()
    found = moments.error(weight, chosen * scale).item()
    assert min(every) - 1e-4 <= found <= nearest + 1e-6


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"rate": 0}, {"warm_up": 1}])
def test_a_descent_that_cannot_be_is_named(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} .* is outside"):
        AdaRoundConfig(**wrong)

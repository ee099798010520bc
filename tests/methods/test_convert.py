"""The converted network is the simulated one in int8, off ties code for code."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from qstudy.measure.system import engines
from qstudy.methods import legacy, static
from qstudy.methods.agreement import agreement
from qstudy.methods.bnfold import BN_STRATEGIES
from qstudy.methods.convert import convert
from qstudy.methods.quantized_modules import integer_weight
from qstudy.methods.simulate import (
    SimulateConfig,
    calibrate,
    layers,
    quantizers,
    simulate,
)
from qstudy.models import zoo
from qstudy.models.mobilenet import mobilenetv2_32
from tests.methods.networks import stir
from tests.repo.checkout import ROOT

ENGINES = ("x86", "onednn", "fbgemm", "qnnpack")
HERE = engines()[0]
# What an engine may decide otherwise lies nearer to a tie than this, in steps, and so
# makes up no more than about twice that share of all values.
NEAR = dict.fromkeys(ENGINES, 1e-4) | {"qnnpack": 0.02}


def skip_without(engine):
    if engine not in engines():
        pytest.skip(f"torch has no engine {engine} on this machine")


def spared(simulated, engine):
    """Weights of few codes, so that 16-bit sums saturate on no processor.

    QNNPACK has none, and rounds biases to steps that would become coarse.
    """
    if engine == "qnnpack":
        return simulated
    for layer in layers(simulated).values():
        low, high = layer.weight_quantizer.range()
        layer.weight_quantizer.set_range(low * 4, high * 4)
    return simulated


def check(simulated, x, *, engine):
    """The converted network, after every kernel was compared with its simulation."""
    converted = convert(simulated, engine=engine)
    found = agreement(simulated, converted, x)
    for kernel in found.kernels:
        assert set(kernel.alone) <= {-1, 1}, kernel
        assert sum(kernel.alone.values()) <= 2 * NEAR[engine] * kernel.values + 2, (
            kernel
        )
        assert kernel.from_tie is None or kernel.from_tie < NEAR[engine], kernel
    return converted, found


def published(name):
    model = zoo.build(name)
    path = ROOT / f"results/checkpoints/{name}-cifar10-fp32-published-s0.safetensors"
    zoo.load_checkpoint(model, path)
    return model.eval()


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("trained", [False, True], ids=["random", "published"])
def test_every_kernel_gives_the_simulated_codes(
    engine, granularity, trained, resnet8, images
):
    skip_without(engine)
    network = published("resnet8") if trained else resnet8
    config = SimulateConfig(granularity=granularity)
    made = spared(simulate(network, config, calibration=[images]), engine)
    converted, found = check(made, images, engine=engine)
    assert len(found.kernels) == 1 + 9 + 3 + 1 + 1  # input, conv, add, pool, fc
    assert found.examples == 8
    assert found.predictions <= 1
    # The logits are those of the last kernel's codes.
    logits = converted(images)
    scale = made.get_submodule("activation_quantizers.fc").qparams().scale
    off = torch.round((logits - made(images)) / scale).flatten()
    last = found.kernels[-1]
    assert int((off != 0).sum()) == sum(last.free.values())


def test_int8_runs_and_nothing_else(resnet8, images):
    made = simulate(resnet8, SimulateConfig(), calibration=[images])
    converted = convert(made, engine=HERE)
    share = static.quantized_share(converted)
    assert share.floating_types == {}
    assert share.quantized_types == {
        "Conv2d": 5,
        "ConvReLU2d": 4,
        "Linear": 1,
        "QFunctional": 3,
    }
    with torch.profiler.profile() as profile, torch.inference_mode():
        converted(images)
    calls = {event.key: event.count for event in profile.key_averages()}
    int8 = ("conv2d", "conv2d_relu", "linear", "add_relu")
    assert [calls[f"quantized::{name}"] for name in int8] == [5, 4, 1, 3]
    assert not {"aten::convolution", "aten::addmm", "aten::add"} & calls.keys()


def test_it_is_what_torch_s_own_conversion_gives(resnet8, images):
    how = static.StaticConfig(engine=HERE, observer="minmax")
    wanted = static.quantize_static(resnet8, [images], how)
    made = simulate(resnet8, SimulateConfig())
    calibrate(made, [images], observer="minmax")
    converted = convert(made, engine=HERE)
    theirs, ours = wanted.network, converted.network
    for path in ("conv1", "stage1.0.conv2", "stage3.0.shortcut.0", "fc"):
        module, own = theirs.get_submodule(path), ours.get_submodule(path)
        assert own.scale == pytest.approx(float(module.scale), rel=1e-5)
        assert own.zero_point == int(module.zero_point)
        off = own.weight().int_repr().int() - module.weight().int_repr().int()
        # They fold batch normalization in another order of operations.
        assert off.abs().max() <= 1
        assert (off != 0).float().mean() < 0.01
    before = torch.backends.quantized.engine
    error = (converted(images) - wanted(images)).abs().max() / ours.fc.scale
    assert error <= 4  # codes
    assert torch.backends.quantized.engine == before


class Mixed(nn.Module):
    """What a user might write: no normalization, clamps, concatenation, functions."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding="same", bias=False)
        self.two = nn.Conv2d(8, 8, 3, groups=8, padding=1, padding_mode="reflect")
        self.act = nn.ReLU6()
        self.three = nn.Conv2d(8, 8, 1)
        self.hard = nn.Hardtanh(-0.3, 0.2)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(16, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.one(x)
        n = x.shape[0]
        x = F.max_pool2d(F.relu(x), 2)
        y = self.act(self.two(x))
        z = self.hard(self.three(x))
        y = F.relu6(y + x)
        x = F.avg_pool2d(torch.cat([y, z], dim=1), 4)
        x = F.adaptive_avg_pool2d(torch.relu(x), 1)
        return self.head(torch.relu(self.fc(self.drop(x.reshape(n, -1)))))


@pytest.fixture
def mixed():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Mixed().eval()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stretch", [1.0, 1.7])
def test_a_user_s_network_converts(engine, stretch, mixed, images):
    skip_without(engine)
    made = simulate(mixed, SimulateConfig())
    calibrate(made, [images], observer="minmax")
    # Ranges wider than a clamp's bounds: saturating codes are then no clamp.
    for name in ("three", "two"):
        q = made.get_submodule(f"activation_quantizers.{name}")
        q.set_range(q.low * stretch, q.high * stretch)
    converted, found = check(spared(made, engine), images, engine=engine)
    clamps = [n for n in converted.network.graph.nodes if n.target is torch.clamp]
    assert len(clamps) == (stretch > 1)
    share = static.quantized_share(converted)
    assert share.floating_types == {}
    assert share.quantized == 5 + 2  # layers; an addition, a concatenation
    assert found.predictions == 0


def test_depthwise_convolutions_and_relu6_convert(images):
    network = stir(mobilenetv2_32(width=0.1, seed=1))
    made = simulate(network, SimulateConfig())
    calibrate(made, [images], observer="minmax")
    converted, found = check(spared(made, HERE), images, engine=HERE)
    share = static.quantized_share(converted)
    assert (share.quantized, share.floating) == (52 + 1 + 12, 0)
    # A range that ends at 6 makes ReLU6 of saturation; no clamp is left to run.
    assert torch.clamp not in {n.target for n in converted.network.graph.nodes}
    assert len(found.kernels) == 1 + 52 + 12 + 1 + 1


@pytest.mark.parametrize("strategy", BN_STRATEGIES)
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_every_strategy_converts_to_the_weights_it_trained(
    strategy, granularity, resnet8, images
):
    config = SimulateConfig(
        bn_strategy=strategy,
        granularity=granularity,
        ranges="moving_average",
        weight_ranges="moving_average",
    )
    made = simulate(resnet8.train(), config, calibration=[images])
    optimizer = torch.optim.SGD(made.parameters(), lr=1e-3)
    for _ in range(2):
        made(images).square().mean().backward()
        optimizer.step()
    made.eval()
    for layer in layers(made).values():
        codes, scale, _ = integer_weight(layer)
        view = (-1, *[1] * (codes.dim() - 1)) if scale.dim() else ()
        weight = codes.float() * scale.reshape(view)
        if hasattr(layer, "folded"):
            wanted = layer.folded(quantized=True)[0]
        else:
            wanted = layer.weight_quantizer(layer.layer.weight)
        # -128 has no negative among int8 codes.
        spare = scale.max() if strategy == "none" else 0.0
        torch.testing.assert_close(weight, wanted.detach(), rtol=1e-5, atol=spare)
        assert ((weight - wanted).abs() > 1e-5 * weight.abs()).float().mean() < 0.02
    converted = convert(made, engine=HERE)
    assert static.quantized_share(converted).floating == 0
    correlation = torch.corrcoef(
        torch.stack([converted(images).flatten(), made(images).detach().flatten()])
    )
    assert correlation[0, 1] > 0.999


def test_conversion_leaves_the_simulated_network_alone(resnet8, images):
    made = simulate(resnet8, SimulateConfig(), calibration=[images])
    state = copy.deepcopy(made.state_dict())
    before = made(images)
    twice = [convert(made, engine=HERE)(images) for _ in range(2)]
    assert torch.equal(*twice)
    assert torch.equal(made(images), before)
    assert all(torch.equal(t, state[k]) for k, t in made.state_dict().items())


def test_a_disagreement_is_traced_to_where_it_begins(resnet8, images):
    made = simulate(resnet8, SimulateConfig(), calibration=[images])
    spared(made, HERE)
    converted = convert(made, engine=HERE)
    with legacy.engine(HERE):
        conv = converted.network.get_submodule("stage2.0.conv1")
        conv.set_weight_bias(conv.weight(), conv.bias().detach() + 2.4 * conv.scale)
    found = {
        kernel.name: kernel for kernel in agreement(made, converted, images).kernels
    }
    broken = found["stage2.0.conv1.output"]
    assert sum(broken.alone.values()) > 0.2 * broken.values
    assert set(broken.alone) <= {1, 2, 3}
    assert broken.from_tie > 0.3
    assert broken.share > 0.2
    # What follows has it in its input and not of its own.
    later = found["stage2.0.conv2.output"]
    assert later.share > 0.2
    assert sum(later.alone.values()) < 1e-3 * later.values


def test_qnnpack_differs_by_its_rounded_biases(images):
    """With biases that are whole steps already, what is left is float32's last bit."""
    skip_without("qnnpack")
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3))
    config = SimulateConfig(granularity="per_tensor")
    made = simulate(network.eval(), config, calibration=[images])

    def farthest():
        found = agreement(made, convert(made, engine="qnnpack"), images)
        return max(kernel.from_tie or 0.0 for kernel in found.kernels)

    assert farthest() > 3e-4
    for path, before in (("0", "input_1"), ("2", "0")):
        layer = made.get_submodule(path)
        step = made.get_submodule(f"activation_quantizers.{before}").qparams().scale
        step = step * layer.weight_quantizer.qparams().scale
        with torch.no_grad():
            layer.layer.bias.copy_(torch.round(layer.layer.bias / step) * step)
    assert farthest() < 1e-4


def refused(simulated, message, *, engine=HERE):
    with pytest.raises(ValueError, match=message) as error:
        convert(simulated, engine=engine)
    assert "\n" not in str(error.value)


def test_what_cannot_be_converted_is_refused_by_name(resnet8, images):
    made = simulate(resnet8, SimulateConfig())
    refused(made, "fake-quantizer 'x' has no range")
    calibrate(made, [images])
    refused(made, "engine 'tpu' is not one of", engine="tpu")
    refused(resnet8, "ResNet was not made by simulate")
    refused(made.train(), "SimulatedResNet is in train mode")
    with pytest.raises(ValueError, match="is in train mode"):
        agreement(made, None, images)
    made.eval()
    quantizers(made)["activation_quantizers.conv1"].quantize(False)
    refused(made, r"'conv1\.output' is switched off")
    quantizers(made)["activation_quantizers.conv1"].quantize(True)
    other = convert(made, engine=HERE)
    low = simulate(resnet8, SimulateConfig(weight_bits=4), calibration=[images])
    refused(low, r"'stage1\.0\.conv1\.weight' has 4 bits .* stays simulated")
    low = simulate(resnet8, SimulateConfig(activation_bits=7), calibration=[images])
    refused(low, r"'stage1\.0\.conv1\.input' has 7 bits")
    with pytest.raises(ValueError, match="has no quantizer 'activation_quantizers"):
        agreement(simulate(Mixed().eval(), SimulateConfig()), other, images)
    bare = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 3, 1)))
    refused(bare, "Sequential was not made by simulate")
    node = next(n for n in made.graph.nodes if n.target == "activation_quantizers.fc")
    node.replace_all_uses_with(node.args[0])
    made.graph.erase_node(node)
    refused(made, "no fake-quantizer stands behind 'fc'")


def test_a_padding_that_is_longer_on_one_side_is_refused(images):
    network = nn.Sequential(nn.Conv2d(3, 3, (3, 2), padding="same")).eval()
    made = simulate(network, SimulateConfig())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same' with even kernel")
        calibrate(made, [images])
    refused(made, "padding 'same' of a kernel of size")

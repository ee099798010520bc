"""The simulated network rounds where the rule says, to what numerics says."""

import copy

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from qstudy.methods.bnfold import BN_STRATEGIES, ConvBn2d
from qstudy.methods.frozen import inductor_noise
from qstudy.methods.fusion import fold_bn
from qstudy.methods.simulate import (
    OBSERVERS,
    SEARCHED,
    SimulateConfig,
    calibrate,
    config_of,
    in_float,
    layers,
    quantizers,
    simulate,
)
from qstudy.methods.simulate.layers import SameScale
from qstudy.models import zoo
from qstudy.models.resnet import Add
from qstudy.numerics.mapping import code_range, fake_quantize
from qstudy.numerics.qparams import choose_qparams
from qstudy.numerics.weights import round_weight
from tests.methods.networks import stir

LOW = SimulateConfig(weight_bits=3, activation_bits=2)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outputs(simulated):
    """Bits by name of quantizer."""
    return {q.name: q.config.bits for q in quantizers(simulated).values()}


class Functional(nn.Module):
    """Everything that can be written as a function, and a concatenation."""

    def __init__(self, *, bn=True):
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4) if bn else nn.Identity()
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.three = nn.Conv2d(4, 4, 1, bias=False)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn(self.one(x)), inplace=True), 2)
        y = torch.clamp(self.two(x), 0, 6)
        y += x
        z = torch.relu(x + self.three(x))
        y = torch.cat([y, z], 1).mean((2, 3))
        return self.fc(self.drop(y.view(y.size(0), -1)))


@pytest.fixture
def functional():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return stir(Functional())


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_it_computes_what_is_written_out_by_hand(functional, granularity, images):
    config = SimulateConfig(granularity=granularity)
    made = simulate(functional, config)
    calibrate(made, [images], observer="minmax")

    def rounded(x, shown):
        qparams = choose_qparams(
            *torch.aminmax(shown),
            codes=code_range(8, signed=False),
            smallest_scale=torch.finfo(torch.float32).eps,
        )
        return fake_quantize(x, qparams, invert=True)

    def conv(x, layer, bn=None):
        weight, bias = layer.weight, layer.bias
        if bn is not None:
            weight, bias = fold_bn(
                weight,
                bias,
                mean=bn.running_mean,
                var=bn.running_var,
                gamma=bn.weight,
                beta=bn.bias,
                eps=bn.eps,
            )
        return F.conv2d(
            x, round_weight(weight, granularity=granularity), bias, 1, layer.padding
        ), F.conv2d(x, weight, bias, 1, layer.padding)

    # Twice in step: r rounds with the range of what f, the float network, computes.
    m = functional
    with torch.no_grad():
        f, r = images, rounded(images, images)
        f1 = F.relu(conv(f, m.one, m.bn)[1])
        r1 = rounded(F.relu(conv(r, m.one, m.bn)[0]), f1)
        f1, r1 = F.max_pool2d(f1, 2), F.max_pool2d(r1, 2)
        f2 = conv(f1, m.two)[1].clamp(0, 6)
        r2 = rounded(conv(r1, m.two)[0].clamp(0, 6), f2)
        f3 = conv(f1, m.three)[1]
        r3 = rounded(conv(r1, m.three)[0], f3)
        r2, f2 = rounded(r2 + r1, f2 + f1), f2 + f1
        r3, f3 = rounded(F.relu(r1 + r3), F.relu(f1 + f3)), F.relu(f1 + f3)
        f, r = torch.cat([f2, f3], 1), torch.cat([r2, r3], 1)
        r = rounded(r, f)
        r, f = rounded(r.mean((2, 3)), f), f.mean((2, 3))
        weight = round_weight(m.fc.weight, granularity=granularity)
        wanted = rounded(F.linear(r, weight, m.fc.bias), m.fc(f))
        assert torch.equal(made(images), wanted)


def test_without_rounding_it_is_the_network(resnet8, functional, images):
    for network in (resnet8, functional):
        made = simulate(network, SimulateConfig(), calibration=[images])
        with in_float(made), torch.no_grad():
            torch.testing.assert_close(
                made(images), network(images), rtol=1e-4, atol=1e-4
            )
        assert not torch.equal(made(images), network(images))


def test_at_8_bits_nothing_is_rounded_twice(resnet8):
    made = simulate(resnet8, SimulateConfig())
    assert set(outputs(made).values()) == {8}
    assert len(outputs(made)) == 1 + 9 + 3 + 1 + 10  # input, conv, add, fc, weights
    same = [m for m in made.modules() if isinstance(m, SameScale)]
    last_add = made.get_submodule("activation_quantizers.stage3_0_add")
    assert [m.source for m in same] == [last_add]


def test_the_skip_path_keeps_its_bits(resnet8):
    made = simulate(resnet8, LOW)
    assert outputs(made) == {
        "x": 8,
        "conv1.weight": 8,
        # An identity shortcut reads it besides a convolution.
        "conv1.output": 8,
        "stage1.0.conv1.input": 2,
        "stage1.0.conv1.weight": 3,
        "stage1.0.conv1.output": 2,
        "stage1.0.conv2.weight": 3,
        "stage1.0.conv2.output": 8,
        # Two convolutions read it, and no addition.
        "stage1.0.add.output": 2,
        "stage2.0.conv1.weight": 3,
        "stage2.0.conv1.output": 2,
        "stage2.0.conv2.weight": 3,
        "stage2.0.conv2.output": 8,
        "stage2.0.shortcut.0.weight": 3,
        "stage2.0.shortcut.0.output": 8,
        "stage2.0.add.output": 2,
        "stage3.0.conv1.weight": 3,
        "stage3.0.conv1.output": 2,
        "stage3.0.conv2.weight": 3,
        "stage3.0.conv2.output": 8,
        "stage3.0.shortcut.0.weight": 3,
        "stage3.0.shortcut.0.output": 8,
        # The pooling, and after it the last layer.
        "stage3.0.add.output": 8,
        "fc.weight": 8,
        "fc.output": 8,
    }


def test_one_second_rounding_serves_all_layers_of_its_width(functional):
    made = simulate(functional, LOW)
    bits = outputs(made)
    assert bits["one.output"] == 8
    # `two` and `three` read it after a max pooling, beside two additions.
    assert bits["two.input"] == 2
    assert "three.input" not in bits
    narrow = next(n for n in made.graph.nodes if str(n.target).endswith("two_input"))
    assert {user.target for user in narrow.users} == {"two", "three"}


def test_other_widths_go_where_they_are_said(resnet8):
    config = SimulateConfig(
        weight_bits=4, activation_bits=4, first_last_bits=6, skip_bits=5
    )
    bits = outputs(simulate(resnet8, config))
    wanted = {
        "x": 6,
        "conv1.weight": 6,
        "conv1.output": 5,
        "stage1.0.conv1.input": 4,
        "stage3.0.add.output": 5,
        "fc.weight": 6,
        "fc.output": 6,
    }
    assert {name: bits[name] for name in wanted} == wanted
    everywhere = simulate(
        resnet8,
        SimulateConfig(
            weight_bits=4, activation_bits=4, first_last_bits=4, skip_bits=4
        ),
    )
    assert set(outputs(everywhere).values()) == {4}
    assert len(outputs(everywhere)) == 24


def test_a_pooling_inside_keeps_its_input_s_scale_and_its_reader_s_bits(images):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
    )
    made = simulate(network, LOW, calibration=[images])
    bits = outputs(made)
    assert (bits["0.output"], bits["2.input"], bits["2.output"]) == (8, 2, 8)
    path = [str(n.target).split(".")[-1] for n in made.graph.nodes][2:7]
    assert path == ["0", "0", "1", "1", "2_input"]
    pooling = made.get_submodule("activation_quantizers.1")
    assert pooling.source is made.get_submodule("activation_quantizers.0")


def test_pact_is_for_what_cannot_be_negative(functional, resnet8):
    config = SimulateConfig(ranges="pact")
    for network in (functional, resnet8):
        made = simulate(network, config)
        learned = {q.name for q in quantizers(made).values() if hasattr(q, "alpha")}
        if network is functional:
            # add_1 is relu(x + ...), add is clamp + pooled relu.
            assert learned == {
                "one.output",
                "two.output",
                "add.output",
                "add_1.output",
                "cat.output",
            }
        else:
            assert "conv1.output" in learned
            assert {"x", "stage1.0.conv2.output", "fc.output"}.isdisjoint(learned)


@pytest.mark.parametrize("strategy", BN_STRATEGIES)
def test_every_strategy_trains_and_leaves_the_network_alone(strategy, resnet8, images):
    state = copy.deepcopy(resnet8.state_dict())
    resnet8.train()
    config = SimulateConfig(
        bn_strategy=strategy, ranges="moving_average", weight_ranges="moving_average"
    )
    made = simulate(resnet8, config, calibration=[images])
    assert made.training
    assert isinstance(made.conv1, ConvBn2d)
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    made(images).square().mean().backward()
    optimizer.step()
    assert all(not torch.equal(before[n], p) for n, p in made.named_parameters())
    assert all(torch.equal(t, state[k]) for k, t in resnet8.state_dict().items())


@pytest.mark.parametrize("observer", OBSERVERS)
def test_every_observer_calibrates_on_what_loaders_yield(observer, functional, images):
    data = torch.utils.data.TensorDataset(images, torch.zeros(len(images)))
    made = simulate(functional, LOW)
    assert not made.training
    stride = {"stride": 64} if observer in SEARCHED else {}
    calibrate(made, torch.utils.data.DataLoader(data, 4), observer=observer, **stride)
    kind = OBSERVERS[observer]
    calibrator = kind(bits=8, **stride) if stride else kind()
    for part in images.split(4):
        calibrator.update(part)
    assert quantizers(made)["activation_quantizers.x"].range() == calibrator.range()
    narrow = made.get_submodule("activation_quantizers.two_input")
    wide = made.get_submodule("activation_quantizers.one")
    if observer == "mse":  # fewer bits, a closer clip
        assert narrow.high < wide.high
    assert bool(torch.isfinite(made(images)).all())
    assert all(bool(q.quantizing) for q in quantizers(made).values())


def test_ranges_of_weights_follow_the_folded_weights(resnet8, images):
    made = simulate(resnet8, SimulateConfig(), calibration=[images])
    for name, layer in layers(made).items():
        if isinstance(layer, ConvBn2d):
            weight = layer.folded()[0]
        else:
            weight = layer.layer.weight
        low, high = layer.weight_quantizer.range()
        assert torch.equal(low, weight.flatten(1).amin(1)), name
        assert torch.equal(high, weight.flatten(1).amax(1)), name


def test_the_state_survives_a_file_and_a_copy(resnet8, images, tmp_path):
    made = simulate(resnet8, LOW, calibration=[images])
    save_file(made.state_dict(), tmp_path / "made.safetensors")
    other = simulate(zoo.build("resnet8", seed=9), LOW).eval()
    other.load_state_dict(load_file(tmp_path / "made.safetensors"))
    twin = copy.deepcopy(made)
    assert torch.equal(other(images), made(images))
    assert torch.equal(twin(images), made(images))
    assert config_of(twin) == LOW
    # The copy's pooling has the copy's scale.
    twin.get_submodule("activation_quantizers.stage3_0_add").set_range(0.0, 1.0)
    assert not torch.equal(twin(images), made(images))
    assert torch.equal(other(images), made(images))


def test_it_compiles_into_one_graph(functional, images):
    torch._dynamo.reset()
    made = simulate(functional, LOW, calibration=[images])
    with inductor_noise():
        compiled = torch.compile(made, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(images), made(images))


class Block(nn.Module):
    """One convolution and what a test puts behind it."""

    def __init__(self, behind=lambda self, x: x, **modules):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.behind = behind
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.behind(self, self.conv(x))


def test_other_spellings_of_known_operations_are_read(images):
    spellings = [
        lambda self, x: x.relu().flatten(1),
        lambda self, x: x.add(x).clamp(min=0),
        lambda self, x: torch.add(x, x).contiguous(),
        lambda self, x: F.hardtanh(x, -2, 2),
        lambda self, x: F.relu6(x).reshape(x.shape[0], -1),
        lambda self, x: F.dropout(F.adaptive_avg_pool2d(x, 1), training=False),
        lambda self, x: torch.concat((x, F.relu(x)), dim=1),
        lambda self, x: self.relu(self.conv2(self.relu(x))),
    ]
    for behind in spellings:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            more = {"relu": nn.ReLU(inplace=True), "conv2": nn.Conv2d(3, 3, 3)}
            block = Block(behind, **more)
        made = simulate(block.eval(), SimulateConfig(), calibration=[images])
        torch.testing.assert_close(made(images), block(images), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Block(lambda self, x: self.act(x), act=nn.GELU()), "'act' is a GELU, which"),
        (Block(lambda self, x: torch.sigmoid(x)), "node 'sigmoid' is a sigmoid, which"),
        (Block(lambda self, x: x * x), "node 'mul' is a mul, which"),
        (Block(lambda self, x: x + 1), "node 'add' is a add with these arguments"),
        (Block(lambda self, x: x.mean()), "is a mean with these arguments"),
        (Block(lambda self, x: F.dropout(x)), "dropout with these arguments"),
        (Block(lambda self, x: x.softmax(1)), "node 'softmax' is a softmax, which"),
        (
            Block(lambda self, x: self.bn(F.relu(x)), bn=nn.BatchNorm2d(3)),
            "normalization 'bn' does not follow a convolution",
        ),
        (
            Block(lambda self, x: self.bn(x) + x, bn=nn.BatchNorm2d(3)),
            "normalization 'bn' does not follow a convolution",
        ),
        (
            Block(lambda self, x: self.conv(x)),
            r"module 'conv' \(Conv2d\) is called 2 times",
        ),
        (Block(lambda self, x: x if x.sum() > 0 else -x), "Block cannot be traced"),
        (
            Block(lambda self, x: x + F.relu6(torch.cat([x, x]))),
            "clamp 'relu6' does not follow a layer",
        ),
        (
            Block(lambda self, x: x + self.offset, offset=None),
            "cannot be traced|with these arguments",
        ),
        (Add(), "no convolution and no linear layer"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_refused_by_name(network, message):
    with pytest.raises(ValueError, match=message) as error:
        simulate(network, SimulateConfig())
    assert "\n" not in str(error.value)


def test_a_simulated_network_is_not_simulated_again(functional):
    made = simulate(functional, SimulateConfig())
    with pytest.raises(ValueError, match=r"is a FakeQuantize, which"):
        simulate(made, SimulateConfig())
    with pytest.raises(ValueError, match="Functional was not made by simulate"):
        config_of(functional)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_bits": 1}, r"^weight_bits 1 is not one of \(2, 3"),
        ({"activation_bits": 9}, "^activation_bits 9 is not one of"),
        ({"skip_bits": 0}, "^skip_bits 0 is not one of"),
        ({"first_last_bits": 16}, "^first_last_bits 16 is not one of"),
        ({"granularity": "row"}, "granularity 'row' is not one of"),
        ({"ranges": "guess"}, "ranges 'guess' is not one of"),
        ({"weight_ranges": "pact"}, "weight_ranges 'pact' is not one of"),
        ({"bn_strategy": "fold"}, "bn_strategy 'fold' is not one of"),
    ],
)
def test_a_configuration_that_is_not_allowed_is_refused(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        SimulateConfig(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        (lambda x: [], {}, "there are no calibration batches"),
        (lambda x: [x, x[:0]], {}, r"batch 2 is torch.float32 of shape \(0, 3,"),
        (lambda x: [(x.long(), 1)], {}, r"batch 1 is torch.int64 of shape"),
        (lambda x: ["x"], {}, "batch 1 is str: a float tensor"),
        (lambda x: [x, x / 0], {}, "batch 2 holds NaN or infinity"),
        (lambda x: [x], {"observer": "guess"}, "observer 'guess' is not one of"),
        (lambda x: [x], {"percentile": 9}, r"options \['percentile'\] are not those"),
    ],
)
def test_calibration_that_cannot_count_is_refused(
    functional, images, batches, options, message
):
    made = simulate(functional.train(), SimulateConfig())
    with pytest.raises(ValueError, match=message):
        calibrate(made, batches(images), **options)
    # And nothing has changed.
    assert made.training
    assert all(bool(q.quantizing) for q in quantizers(made).values())
    with pytest.raises(ValueError, match="fake-quantizer 'x' has no range"):
        made(images)


def test_values_that_have_no_range_are_told_by_name(functional, images):
    with torch.no_grad():
        functional.three.weight.zero_()
    made = simulate(functional, SimulateConfig())
    with pytest.raises(ValueError, match=r"'three\.output' is given the range 0 to 0"):
        calibrate(made, [images])
    with torch.no_grad():
        functional.two.bias.fill_(torch.nan)
    made = simulate(functional, SimulateConfig())
    with pytest.raises(ValueError, match=r"at 'two\.output': a batch holds NaN"):
        calibrate(made, [images])
    with pytest.raises(ValueError, match="has no fake-quantizers"):
        calibrate(functional, [images])

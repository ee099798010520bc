"""A quantized network in this study's own integers: the engine's answer, no floats."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qstudy.measure import system
from qstudy.methods import integer, static
from qstudy.methods.integer.arithmetic import (
    EngineFloat32,
    FixedPoint,
    IntegerLayer,
    SideBySide,
)
from qstudy.numerics.elementwise import Affine

ENGINES = ("fbgemm", "qnnpack", "x86", "onednn")
# Of the logits' codes: convolutions of these two leave their rule at near-ties.
EXACT = ("fbgemm", "qnnpack")
HERE = system.engines()[0]
ROUNDINGS = ("double", "single")


def sums_in_16_bits(engine):
    """Whether two 8-bit products of `engine` may exceed its sums on this machine."""
    found = system.describe()
    full = "avx512_vnni" in found["flags"] and not found["overrides"]
    return engine != "qnnpack" and "x86" in found["isa_class"] and not full


def quantized(model, images, **changes):
    config = static.StaticConfig(**{"engine": HERE, "observer": "minmax"} | changes)
    return static.quantize_static(model, [images], config)


@pytest.fixture
def many():
    return torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def network(resnet8, images):
    return integer.read_integers(quantized(resnet8, images))


def engine_logits(model, images):
    with torch.inference_mode():
        return model(images)


@pytest.mark.parametrize("bits", static.ACTIVATION_BITS)
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("engine", ENGINES)
def test_our_integers_give_the_engine_s_logits(
    resnet8, images, many, engine, granularity, bits
):
    if engine not in system.engines():
        pytest.skip(f"torch has no engine {engine} on this machine")
    if bits == 8 and sums_in_16_bits(engine):
        pytest.skip(f"{engine} may saturate 8-bit products on this machine")
    model = quantized(
        resnet8,
        images,
        engine=engine,
        weight_granularity=granularity,
        activation_bits=bits,
        observer="histogram",
    )
    network = integer.read_integers(model)
    codes = integer.input_codes(network, many)
    found = integer.predict_codes(network, codes, EngineFloat32(engine))
    theirs = engine_logits(model, many)
    assert len(found.unique()) > 20
    if engine in EXACT:
        assert torch.equal(integer.logits(network, found), theirs)
    else:
        end = network.fc.output
        off = (torch.round(theirs / end.scale) + end.zero_point - found).abs()
        assert off.max() <= 1
        assert (off > 0).float().mean() < 0.01


class Watcher(TorchDispatchMode):
    """Counts the dtypes of all tensors that operations take or give."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor):
                self.seen[leaf.dtype] += 1
        return result


def seen_dtypes(network, codes, arithmetic):
    with Watcher() as watcher:
        integer.predict_codes(network, codes, arithmetic)
    return watcher.seen


def floats(seen):
    return {dtype for dtype in seen if dtype.is_floating_point or dtype.is_complex}


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_fixed_point_holds_no_float_tensor_from_input_codes_to_logit_codes(
    resnet8, images, rounding, granularity
):
    model = quantized(resnet8, images, weight_granularity=granularity)
    network = integer.read_integers(model)
    codes = integer.input_codes(network, images)
    arithmetic = FixedPoint.of(network.layers, rounding=rounding)
    seen = seen_dtypes(network, codes, arithmetic)
    assert floats(seen) == set()
    # It did see the products of bytes, their sums, and what multiplies those.
    assert {torch.int8, torch.int32, torch.int64} <= seen.keys()
    assert sum(seen.values()) > 500


@pytest.mark.parametrize("engine", ["fbgemm", "qnnpack", "onednn"])
def test_the_same_watch_sees_the_floats_of_an_engine_s_rule(network, images, engine):
    codes = integer.input_codes(network, images)
    seen = seen_dtypes(network, codes, EngineFloat32(engine))
    assert torch.float32 in floats(seen)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_fixed_point_is_off_by_one_code_at_most_on_the_same_input(
    network, images, rounding
):
    beside = SideBySide(
        EngineFloat32("fbgemm"), FixedPoint.of(network.layers, rounding=rounding)
    )
    codes = integer.input_codes(network, images)
    found = integer.predict_codes(network, codes, beside)
    alone = integer.predict_codes(network, codes, EngineFloat32("fbgemm"))
    assert torch.equal(found, alone)
    # ResNet-8 on 32 x 32: the stem and first block keep the size, two blocks halve it;
    # those two have a third convolution, in the shortcut.
    maps = {16: 1024, 32: 256, 64: 64}
    blocks = sum(channels * pixels for channels, pixels in maps.items())
    weighted = (
        16 * 1024 + 2 * 16 * 1024 + sum(3 * c * p for c, p in maps.items() if c > 16)
    )
    counts = beside.counts
    assert counts.keys() == {"requantize", "add_relu", "average"}
    assert counts["requantize"][2] == 8 * (weighted + 10)
    assert counts["add_relu"][2] == 8 * blocks
    assert counts["average"][2] == 8 * 64
    for one, more, total in counts.values():
        assert more == 0
        assert one <= 0.02 * total
    # Rounding twice is seen; were fixed point the same arithmetic, nothing would be.
    assert counts["requantize"][0] > 0


def test_side_by_side_counts_by_distance_and_gives_what_main_gives():
    layer, sums = None, torch.zeros(2, 3)
    steps = {0: torch.tensor([[5, 5, 5], [5, 5, 5]])}
    steps[1] = torch.tensor([[5, 6, 4], [7, 3, 5]])

    def arithmetic(number):
        return SimpleNamespace(
            requantize=lambda sums, layer: steps[number],
            average=lambda x, affine: steps[number][:1],
        )

    beside = SideBySide(arithmetic(0), arithmetic(1))
    assert beside.requantize(sums, layer) is steps[0]
    assert beside.counts == {"requantize": [2, 2, 6]}
    beside.requantize(sums, layer)
    assert torch.equal(beside.average(sums, layer), steps[0][:1])
    assert beside.counts == {"requantize": [4, 4, 12], "average": [2, 0, 3]}


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_what_is_read_is_what_the_modules_hold(resnet8, images, granularity):
    model = quantized(resnet8, images, weight_granularity=granularity)
    network = integer.read_integers(model)
    before = {
        "conv1": model.quantize,
        "stage1.0.conv1": model.network.conv1,
        "stage1.0.conv2": model.network.stage1[0].conv1,
        "stage2.0.conv1": model.network.stage1[0].add.op,
        "stage2.0.conv2": model.network.stage2[0].conv1,
        "stage2.0.shortcut.0": model.network.stage1[0].add.op,
        "stage3.0.conv1": model.network.stage2[0].add.op,
        "stage3.0.conv2": model.network.stage3[0].conv1,
        "stage3.0.shortcut.0": model.network.stage2[0].add.op,
        "fc": model.network.stage3[0].add.op,
    }
    one, two, three = network.blocks
    layers = (
        *(network.stem, one.conv1, one.conv2),
        *(two.conv1, two.conv2, two.shortcut),
        *(three.conv1, three.conv2, three.shortcut, network.fc),
    )
    assert one.shortcut is None
    assert set(network.layers) == set(layers) and len(network.layers) == 10
    for (name, source), layer in zip(before.items(), layers, strict=True):
        module = model.network.get_submodule(name)
        weight = module.weight()
        assert torch.equal(layer.weight, weight.int_repr()), name
        channels = len(weight) if granularity == "per_channel" else 1
        assert layer.weight_scale.numel() == channels
        scale = layer.weight_scale.reshape(-1, *[1] * (weight.dim() - 1))
        # Two orders of one product: the last bit may differ.
        torch.testing.assert_close(
            layer.weight.float() * scale, weight.dequantize(), rtol=1e-6, atol=0.0
        )
        assert torch.equal(layer.bias, module.bias())
        assert layer.bias.abs().sum() > 0
        for affine, holder in ((layer.input, source), (layer.output, module)):
            assert affine == Affine(float(holder.scale), int(holder.zero_point)), name
        assert layer.relu == (name == "conv1" or name.endswith("0.conv1"))
        halves = name in ("stage2.0.conv1", "stage3.0.conv1") or "shortcut" in name
        assert layer.stride == (2 if halves else 1), name
        assert layer.padding == (0 if "shortcut" in name or name == "fc" else 1), name
    for block, stage in zip(
        network.blocks, ("stage1", "stage2", "stage3"), strict=True
    ):
        op = model.network.get_submodule(stage)[0].add.op
        assert block.output == Affine(float(op.scale), int(op.zero_point))
    assert network.input == layers[0].input


@pytest.mark.parametrize("bits", static.ACTIVATION_BITS)
def test_input_codes_are_those_of_the_network_s_own_stub(resnet8, images, many, bits):
    model = quantized(resnet8, images[:2], activation_bits=bits)
    network = integer.read_integers(model)
    codes = integer.input_codes(network, many)
    assert codes.dtype == torch.int32
    assert torch.equal(codes, model.quantize(many).int_repr().to(torch.int32))


def test_the_codes_after_each_block_can_be_watched(network, images):
    shown = []
    found = integer.predict_codes(
        network,
        integer.input_codes(network, images),
        FixedPoint.of(network.layers),
        observe=shown.append,
    )
    assert [tuple(codes.shape[1:]) for codes in shown] == [
        *[(16, 32, 32)] * 2,
        (32, 16, 16),
        (64, 8, 8),
        (10,),
    ]
    assert shown[-1] is found and found.dtype == torch.int32
    assert all(int(c.min()) >= 0 and int(c.max()) <= 255 for c in shown)
    # All but the logits come out of a ReLU.
    ends = [network.stem.output, *(block.output for block in network.blocks)]
    for codes, end in zip(shown, ends, strict=False):
        assert codes.min() == end.zero_point


def test_fixed_point_predicts_as_the_engine_does(resnet8, images, many):
    model = quantized(resnet8, images)
    network = integer.read_integers(model)
    codes = integer.input_codes(network, many)
    theirs = engine_logits(model, many)
    for rounding in ROUNDINGS:
        arithmetic = FixedPoint.of(network.layers, rounding=rounding)
        found = integer.predict_codes(network, codes, arithmetic)
        ours = integer.logits(network, found)
        # Single steps differ by one code at most, and by few of those.
        assert (ours - theirs).abs().max() <= 6 * network.fc.output.scale
        assert (ours.argmax(1) == theirs.argmax(1)).float().mean() > 0.85


def layer(**changes):
    parts = {
        "weight": torch.ones(2, 3, dtype=torch.int8),
        "weight_scale": torch.tensor([0.5, 0.25]),
        "bias": torch.tensor([1.0, -1.0]),
        "input": Affine(0.5, 3),
        "output": Affine(0.125, 10),
        "relu": False,
    }
    return IntegerLayer(**parts | changes)


def test_a_layer_by_hand():
    # Sums of 3 and 6 beyond the zero point; 3 * 0.25 + 1 and 3 * 0.125 - 1, in eighths.
    x = torch.tensor([[4, 4, 4], [5, 5, 5]])
    one = layer()
    sums = one.sums(x)
    assert sums.tolist() == [[3, 3], [6, 6]]
    wanted = [[24, 5], [30, 8]]
    clipped = layer(relu=True)
    for rounding in ROUNDINGS:
        arithmetic = FixedPoint.of([one, clipped], rounding=rounding)
        assert arithmetic.requantize(sums, one).tolist() == wanted
        assert arithmetic.requantize(sums, clipped).tolist() == [[24, 10], [30, 10]]
    assert EngineFloat32("fbgemm").requantize(sums, one).tolist() == wanted
    unbiased = layer(bias=None)
    arithmetic = FixedPoint.of([unbiased])
    assert arithmetic.requantize(sums, unbiased).tolist() == [[16, 13], [22, 16]]


def test_a_bias_that_overflows_at_tiny_scales_is_an_error():
    tiny = layer(weight_scale=torch.tensor([0.5, 1e-12]))
    sums = tiny.sums(torch.ones(1, 3, dtype=torch.int64))
    for call in (
        lambda: FixedPoint.of([tiny]),
        lambda: EngineFloat32("qnnpack").requantize(sums, tiny),
    ):
        with pytest.raises(ValueError, match="bias -1 at scale 5e-13 is outside int32"):
            call()


def test_an_unknown_engine_or_rounding_is_an_error_that_names_those_there_are():
    with pytest.raises(ValueError, match=r"'tpu' is not one of \('fbgemm', 'x86', "):
        EngineFloat32("tpu")
    with pytest.raises(ValueError, match=r"'triple' is not one of \('double', 'sing"):
        FixedPoint.of([layer()], rounding="triple")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups": 2}, r"groups 2: 1 is read"),
        ({"dilation": 2, "padding": 2}, r"dilation \(2, 2\): \(1, 1\) is read"),
        ({"stride": (1, 2)}, r"stride \(1, 2\): \(1, 1\) is read"),
        ({"padding": (1, 2)}, r"padding \(1, 2\): \(1, 1\) is read"),
        ({"padding_mode": "reflect"}, r"padding_mode 'reflect': 'zeros' is read"),
    ],
)
def test_a_convolution_that_integers_here_have_no_words_for_is_refused(
    resnet8, images, options, said
):
    options = {"padding": 1, "bias": False} | options
    kernel = (3, 5) if options["padding"] == (1, 2) else 3
    block = resnet8.stage1[0]
    block.conv2 = torch.nn.Conv2d(16, 16, kernel, **options)
    if "stride" in options:
        block.shortcut = torch.nn.Sequential(
            torch.nn.Conv2d(16, 16, 1, options["stride"]), torch.nn.BatchNorm2d(16)
        )
    found = quantized(resnet8.eval(), images)
    with pytest.raises(ValueError, match=said):
        integer.read_integers(found)
    with pytest.raises(ValueError, match=r"ResNet is not what static.quantize_static"):
        integer.read_integers(resnet8)

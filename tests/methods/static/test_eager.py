"""Static int8: what was asked for is what runs, and it answers as fp32 does."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from qstudy.measure.system import engines
from qstudy.methods import legacy, static
from qstudy.models import zoo
from qstudy.models.resnet import Add, BasicBlock, ResNet
from qstudy.numerics.weights import round_weight
from qstudy.training.loop import predict

ENGINES = ("x86", "onednn", "fbgemm", "qnnpack")
HERE = engines()[0]


def config(**changes):
    return static.StaticConfig(**{"engine": HERE} | changes)


def logits(model, x):
    with torch.inference_mode():
        return model(x)


def correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_answers_as_fp32_does(resnet8, images, engine):
    if engine not in engines():
        pytest.skip(f"torch has no engine {engine} on this machine")
    before = torch.backends.quantized.engine
    # 7 bits, so that engines without VNNI cannot saturate.
    how = config(engine=engine, activation_bits=7)
    quantized = static.quantize_static(resnet8, [images], how)
    assert correlation(logits(resnet8, images), logits(quantized, images)) > 0.99
    assert torch.backends.quantized.engine == before


def test_no_float_arithmetic_is_left(resnet8, images):
    share = static.quantized_share(resnet8)
    assert (share.quantized, share.floating) == (0, 9 + 9 + 3 + 1)
    quantized = static.quantize_static(resnet8, [images], config())
    share = static.quantized_share(quantized)
    assert share.floating_types == {}
    assert share.quantized_types == {
        "Conv2d": 5,
        "ConvReLU2d": 4,
        "Linear": 1,
        "QFunctional": 3,
    }
    # The profiler agrees: as many int8 kernels, and no float convolution.
    with torch.profiler.profile() as profile, torch.inference_mode():
        quantized(images)
    calls = {event.key: event.count for event in profile.key_averages()}
    int8 = ("conv2d", "conv2d_relu", "linear", "add_relu")
    assert [calls[f"quantized::{name}"] for name in int8] == [5, 4, 1, 3]
    assert not {"aten::convolution", "aten::addmm", "aten::add"} & calls.keys()


def quantized_weights(model):
    kinds = legacy.quantized_modules()
    for name, module in model.named_modules():
        if isinstance(module, (kinds.Conv2d, kinds.Linear)):
            yield name, module.weight()


@pytest.mark.parametrize(
    ("granularity", "scheme"),
    [
        ("per_tensor", torch.per_tensor_affine),
        ("per_channel", torch.per_channel_affine),
    ],
)
def test_weights_have_the_granularity_asked_for(resnet8, images, granularity, scheme):
    how = config(weight_granularity=granularity)
    quantized = static.quantize_static(resnet8, [images], how)
    fused = static.prepare(resnet8, how).network
    count = 0
    for name, weight in quantized_weights(quantized):
        module = fused.get_submodule(name.removeprefix("network."))
        module = module[0] if isinstance(module, nn.Sequential) else module
        assert weight.qscheme() == scheme
        wanted = round_weight(module.weight, granularity=granularity)
        # The codes are the same; the product with the scale may round otherwise.
        torch.testing.assert_close(weight.dequantize(), wanted, rtol=1e-6, atol=1e-7)
        count += 1
    assert count == 10


@pytest.mark.parametrize("observer", static.OBSERVERS)
@pytest.mark.parametrize("bits", static.ACTIVATION_BITS)
def test_activations_have_the_range_asked_for(resnet8, images, observer, bits):
    how = config(observer=observer, activation_bits=bits)
    observed = static.prepare(resnet8, how)
    kind = {"minmax": "MinMaxObserver", "histogram": "HistogramObserver"}[observer]
    seen = [m for m in observed.modules() if "Observer" in type(m).__name__]
    assert {type(m).__name__ for m in seen} == {kind}
    assert len(seen) == 1 + 9 + 3 + 1  # input, convolutions, additions, linear
    assert {(m.quant_min, m.quant_max) for m in seen} == {(0, 2**bits - 1)}
    assert {(m.dtype, m.qscheme) for m in seen} == {
        (torch.quint8, torch.per_tensor_affine)
    }


def test_the_input_s_scale_is_worked_from_its_range(resnet8, images):
    for bits in static.ACTIVATION_BITS:
        how = config(observer="minmax", activation_bits=bits)
        quantized = static.quantize_static(resnet8, [images * 0.5, images], how)
        wanted = (images.max() - images.min()) / (2**bits - 1)
        assert quantized.quantize.scale.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_seven_bits_lose_more_than_eight(resnet8, images):
    wanted = logits(resnet8, images)
    errors = [
        (
            logits(
                static.quantize_static(
                    resnet8, [images], config(observer="minmax", activation_bits=bits)
                ),
                images,
            )
            - wanted
        ).norm()
        for bits in (7, 8)
    ]
    assert errors[0] > 1.2 * errors[1]


def test_the_same_images_give_the_same_network_and_leave_fp32_alone(resnet8, images):
    state = {k: t.clone() for k, t in resnet8.state_dict().items()}
    resnet8.train()
    twice = [static.quantize_static(resnet8, [images], config()) for _ in range(2)]
    assert torch.equal(*(logits(model, images) for model in twice))
    assert resnet8.training
    assert all(torch.equal(t, state[k]) for k, t in resnet8.state_dict().items())


def test_a_quantized_network_predicts_like_any_other(resnet8, images):
    quantized = static.quantize_static(resnet8, iter([images]), config())
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    assert predict(quantized, pixels, batch=2).shape == (5, 10)
    assert not quantized.training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "tpu"}, "engine 'tpu' is not one of"),
        ({"weight_granularity": "group"}, "'group' is not one of .'per_tensor', 'per_"),
        ({"observer": "entropy"}, "'entropy' is not one of .'minmax', 'histogram'"),
        ({"activation_bits": 4}, r"activation_bits 4 is not one of \(7, 8\)"),
        ({"weight_bits": 4}, r"weight_bits 4 is not one of \(8,\)"),
    ],
)
def test_a_configuration_that_is_not_allowed_is_refused(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        config(**changes)
    assert "\n" not in str(error.value)


def spoiled(images, value):
    return images.index_fill(0, torch.tensor([5]), value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: [], "there are no calibration batches"),
        (lambda x: [x, x[:0]], r"batch 2 is torch.float32 of shape \(0, 3, 32, 32\)"),
        (lambda x: [x[0]], r"batch 1 is torch.float32 of shape \(3, 32, 32\)"),
        (lambda x: [x, x[:, :1]], r"batch 2 .* \(8, 1, 32, 32\): .* \(B, 3, H, W\)"),
        (lambda x: [x.double()], "batch 1 is torch.float64 .*: torch.float32"),
        (lambda x: [x.half()], "batch 1 is torch.float16 .*: torch.float32"),
        (lambda x: [x.numpy()], r"batch 1 is a numpy.ndarray: .*torch.from_numpy"),
        (lambda x: [x, (x.numpy(), 1)], r"batch 2 is a numpy.ndarray: .*from_numpy"),
        (lambda x: [[]], "batch 1 is a list: a tensor"),
        (lambda x: [{"image": x}], "batch 1 is a dict: a tensor"),
        (lambda x: [None], "batch 1 is a NoneType: a tensor"),
        (lambda x: [x, 3], "batch 2 is a int: a tensor"),
        (lambda x: [x, 1e37 * x], r"batch 2 holds .*e.37: at most 1e.12 has a range"),
        (lambda x: [x.byte()], "batch 1 is torch.uint8"),
        (lambda x: [x, spoiled(x, float("nan"))], "batch 2 holds NaN or infinity"),
        (lambda x: [spoiled(x, float("inf"))], "batch 1 holds NaN or infinity"),
    ],
)
def test_calibration_images_that_cannot_count_are_refused(
    resnet8, images, spoil, message
):
    with pytest.raises(ValueError, match=message) as error:
        static.quantize_static(resnet8, spoil(images), config())
    assert "\n" not in str(error.value)


def test_batches_that_are_no_loader_are_refused(resnet8, images):
    for wrong in (images, None, 3):
        with pytest.raises(TypeError, match=r"a loader or list of tensors") as error:
            static.quantize_static(resnet8, wrong, config())
        assert "\n" not in str(error.value)


def test_a_loader_of_images_and_labels_calibrates_like_one_of_images(resnet8, images):
    labels = torch.arange(8)
    dataset = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4)
    plain = static.quantize_static(resnet8, [images[:4], images[4:]], config())
    paired = static.quantize_static(resnet8, loader, config())
    assert torch.equal(logits(plain, images), logits(paired, images))


def test_what_overflows_inside_the_network_is_named(resnet8, images):
    resnet8.fc.weight.data.fill_(1e36)
    for observer in static.OBSERVERS:
        how = config(observer=observer)
        with pytest.raises(ValueError, match=r"batch 1 becomes .* at 'network.fc"):
            static.quantize_static(resnet8, [images], how)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.half(), "input 1 is torch.float16"),
        (lambda x: x.double(), "input 1 is torch.float64"),
        (lambda x: spoiled(x, torch.nan), "input 1 holds NaN or infinity"),
        (lambda x: spoiled(x, -torch.inf), "input 1 holds NaN or infinity"),
    ],
)
def test_inputs_without_codes_are_refused(resnet8, images, change, said):
    quantized = static.quantize_static(resnet8, [images], config())
    with pytest.raises(ValueError, match=said):
        quantized(change(images))


class Difference(nn.Module):
    def forward(self, a, b):
        return a - b


class OtherAdd(Add):
    def forward(self, a, b):
        return a + 0.5 * b


class OtherBlock(BasicBlock):
    def forward(self, x):
        return super().forward(x) - x


class OtherNetwork(ResNet):
    def forward(self, x):
        return super().forward(x).softmax(1)


class Steep(nn.ReLU):
    def forward(self, x):
        return 2 * super().forward(x)


def put(path, module):
    return lambda model: model.set_submodule(path, module)


def override(path):
    def change(model):
        module = model.get_submodule(path)
        former = module.forward
        module.forward = lambda *args: 2 * former(*args)

    return change


def hook(path):
    return lambda model: model.get_submodule(path).register_forward_hook(
        lambda module, inputs, output: 2 * output
    )


def retype(path, kind):
    def change(model):
        model.get_submodule(path).__class__ = kind

    return change


def fill(path, name, value):
    return lambda model: getattr(model.get_submodule(path), name).data.fill_(value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            put("stage1.0.relu2", nn.GELU()),
            r"GELU 'stage1.0.relu2' stands where .*ReLU",
        ),
        (
            put("stage2.0.relu2", nn.Identity()),
            "Identity 'stage2.0.relu2' stands",
        ),
        (put("stage2.0.relu2", nn.ReLU6()), "ReLU6 'stage2.0.relu2' stands where"),
        (put("stage1.0.relu1", nn.Hardswish()), "Hardswish 'stage1.0.relu1' stands"),
        (put("stage1.0.relu2", Steep()), "Steep 'stage1.0.relu2' stands where"),
        (put("relu1", nn.LeakyReLU(0.1)), "LeakyReLU 'relu1' stands where"),
        (put("stage1.0.add", Difference()), "Difference 'stage1.0.add' stands where"),
        (put("stage1.0.add", OtherAdd()), "OtherAdd 'stage1.0.add' stands where"),
        (put("stage1.0.bn2", nn.Identity()), "Identity 'stage1.0.bn2' stands where"),
        (
            put("stage1.0", nn.Conv2d(16, 16, 1)),
            "Conv2d 'stage1.0' stands .*Basic",
        ),
        (put("stage1.0.shortcut", nn.ReLU()), "ReLU 'stage1.0.shortcut' stands where"),
        (put("stage2.0.shortcut.1", nn.ReLU()), "ReLU 'stage2.0.shortcut.1' stands"),
        (
            put("stage1.0.se", nn.Sigmoid()),
            "Sigmoid 'stage1.0.se' has no place",
        ),
        (put("dropout", nn.Dropout()), "Dropout 'dropout' has no place in a ResNet"),
        (put("pool", nn.AdaptiveMaxPool2d(1)), "AdaptiveMaxPool2d 'pool' stands where"),
        (put("pool", nn.AdaptiveAvgPool2d(2)), "'pool' averages to 2, not to 1"),
        (retype("stage1.0", OtherBlock), "OtherBlock 'stage1.0' stands where"),
        (retype("", OtherNetwork), "OtherNetwork .the network itself. stands where"),
        (override("stage1.0.add"), "Add 'stage1.0.add' has a forward of its own"),
        (override("stage1.0"), "BasicBlock 'stage1.0' has a forward of its own"),
        (override(""), "ResNet .the network itself. has a forward of its own"),
        (hook("stage1.0.relu2"), "ReLU 'stage1.0.relu2' has a forward hook"),
        (hook("stage1.0.add"), "Add 'stage1.0.add' has a forward hook"),
        (hook("stage1"), "Sequential 'stage1' has a forward hook"),
        (fill("fc", "weight", torch.nan), "Linear 'fc' has a weight that holds NaN"),
        (fill("bn1", "running_var", -1.0), "'conv1' with 'bn1': var is -1.0 somewhere"),
        (fill("bn1", "running_mean", torch.nan), "'conv1' with 'bn1': mean holds NaN"),
        (lambda model: model.half(), "Conv2d 'conv1' has a weight of torch.float16"),
        (lambda model: model.double(), "Conv2d 'conv1' has a weight of torch.float64"),
        (
            lambda model: prune.l1_unstructured(model.fc, "weight", 0.5),
            "Linear 'fc' has a weight that a hook computes",
        ),
        (
            lambda model: parametrizations.weight_norm(model.fc),
            "ParametrizedLinear 'fc' is parametrized",
        ),
    ],
)
def test_a_network_that_is_not_what_it_should_be_is_refused_by_name(
    resnet8, images, change, said
):
    change(resnet8)
    with pytest.raises(ValueError, match=said) as error:
        static.quantize_static(resnet8, [images], config())
    assert "\n" not in str(error.value)


def test_a_network_of_another_kind_is_refused_with_the_way_out(images):
    with pytest.raises(
        ValueError, match=r"MobileNetV2 is not a .*qstudy\.methods\.pt2e"
    ):
        static.quantize_static(zoo.build("mobilenet_v2"), [images], config())

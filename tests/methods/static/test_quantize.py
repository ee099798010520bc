"""quantize: any network, both forms from one configuration, kept layers, files."""

import json
import warnings

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from qstudy.measure.system import engines
from qstudy.methods import fusion, static
from qstudy.methods.simulate import fixed, keep_float, layers, quantizers, simulate
from qstudy.methods.static import QuantizationWarning, QuantizeConfig
from qstudy.models import zoo
from tests.methods.networks import stir

HERE = engines()[0]
IMAGES = torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def config(**changes):
    return QuantizeConfig(**{"engine": HERE, "calibrator": "minmax"} | changes)


class Mixed(nn.Module):
    """Everything a user's network may have: concat, add, both poolings, functions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.left = nn.Conv2d(8, 8, 1)
        self.right = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = F.relu(self.bn(self.stem(x)))
        x = torch.cat([F.relu(self.left(x)), self.right(x) + x], dim=1)
        return self.fc(F.adaptive_avg_pool2d(self.pool(x), 1).flatten(1))


@pytest.fixture
def mixed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return stir(Mixed())


@pytest.fixture
def resnet8():
    return stir(zoo.build("resnet8"))


def answers(network, x=IMAGES):
    with torch.no_grad():
        return network(x)


def test_a_network_of_the_users_own_runs_in_int8_throughout(mixed):
    quantized = static.quantize(mixed, [IMAGES], config())
    assert quantized.form == "int8"
    share = static.quantized_share(quantized.converted)
    assert share.floating == 0 and share.quantized == 6
    step = quantized.converted.network.fc.scale
    real, simulated = answers(mixed), answers(quantized.simulated)
    assert (answers(quantized) - simulated).abs().max() <= 2.01 * step
    assert (answers(quantized) - real).abs().max() < 0.1 * real.abs().max()


def test_both_forms_are_of_one_configuration(resnet8):
    quantized = static.quantize(resnet8, [IMAGES], config())
    fast = fixed(quantized.simulated)
    assert torch.equal(answers(fast), answers(quantized.simulated))
    only = static.quantize(resnet8, [IMAGES], config(engine=None))
    assert only.form == "simulated"
    assert torch.equal(answers(only), answers(quantized.simulated))


def test_the_fixed_form_is_bit_equal_for_narrow_codes_and_a_floating_layer(mixed):
    narrow = config(weight_bits=3, activation_bits=4, engine=None, skip_bits=5)
    quantized = static.quantize(mixed, [IMAGES], narrow)
    for names in ((), ("right",), ("stem", "fc")):
        keep_float(quantized.simulated, names)
        assert torch.equal(
            answers(fixed(quantized.simulated)), answers(quantized.simulated)
        )


def test_fewer_than_8_bits_stay_simulated_and_say_so(resnet8):
    with pytest.warns(QuantizationWarning, match="4 bits have no kernels"):
        quantized = static.quantize(resnet8, [IMAGES], config(weight_bits=4))
    assert quantized.form == "simulated" and quantized.converted is None
    assert "form='simulated'" in repr(quantized)


@pytest.mark.parametrize(
    "kept", [("conv1",), ("fc",), ("stage2.0.conv1",), ("stage3.0.shortcut.0", "fc")]
)
def test_kept_layers_compute_in_float_in_both_forms(resnet8, kept):
    quantized = static.quantize(resnet8, [IMAGES], config(kept_float=kept))
    share = static.quantized_share(quantized.converted)
    assert share.floating == len(kept)
    fused = fusion.fuse(resnet8)
    for name in kept:
        layer = quantized.converted.network.get_submodule(name)
        assert torch.equal(layer.weight, fused.get_submodule(name).weight)
    off = abs(answers(quantized) - answers(quantized.simulated)).max()
    assert off <= 0.05 * answers(resnet8).abs().max()


def test_what_is_kept_is_exact_where_nothing_before_it_is_rounded(mixed):
    """The first layer kept reads the input itself, and its weight is not rounded."""
    quantized = static.quantize(mixed, [IMAGES], config(kept_float=("stem",)))
    seen = []
    layer = quantized.converted.network.get_submodule("stem")
    layer.register_forward_hook(lambda m, x, y: seen.append(y))
    answers(quantized)
    with torch.no_grad():
        wanted = mixed.bn(mixed.stem(IMAGES))
    torch.testing.assert_close(seen[0], wanted, rtol=1e-5, atol=1e-5)


def test_a_network_without_additions_all_kept_is_the_float_network():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    answers(model)
    quantized = static.quantize(
        model, [IMAGES], config(kept_float=("0", "3"), engine=None)
    )
    assert torch.equal(answers(quantized), answers(model))


def test_keeping_again_replaces_what_was_kept(resnet8):
    quantized = static.quantize(resnet8, [IMAGES], config(engine=None))
    before = answers(quantized.simulated)
    keep_float(quantized.simulated, ("conv1", "fc"))
    assert not torch.equal(answers(quantized.simulated), before)
    keep_float(quantized.simulated, ())
    assert torch.equal(answers(quantized.simulated), before)
    assert all(bool(q.quantizing) for q in quantizers(quantized.simulated).values())


def test_a_layer_that_is_none_is_named(resnet8):
    with pytest.raises(ValueError, match=r"layer 'bn1' is not one of \('conv1'"):
        static.quantize(resnet8, [IMAGES], config(kept_float=("bn1",)))


@pytest.mark.parametrize("kept", [(), ("conv1", "stage1.0.conv1")])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_a_saved_network_answers_bit_by_bit_as_before(
    resnet8, tmp_path, kept, granularity
):
    how = config(kept_float=kept, granularity=granularity)
    quantized = static.quantize(resnet8, [IMAGES], how)
    static.save(quantized, tmp_path / "net.safetensors")
    loaded = static.load(zoo.build("resnet8", seed=9), tmp_path / "net.safetensors")
    assert loaded.config == how and loaded.form == "int8"
    assert torch.equal(answers(loaded), answers(quantized))
    assert torch.equal(answers(loaded.simulated), answers(quantized.simulated))


def test_the_file_holds_bytes_for_weights(resnet8, tmp_path):
    static.save(static.quantize(resnet8, [IMAGES], config()), tmp_path / "q")
    codes = {k: v for k, v in load_file(tmp_path / "q").items() if k.endswith("codes")}
    assert len(codes) == 10 and {v.dtype for v in codes.values()} == {torch.int8}
    floats = sum(p.numel() * 4 for p in resnet8.parameters())
    assert (tmp_path / "q").stat().st_size < floats / 2.5


def test_a_file_that_does_not_fit_is_named(resnet8, tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        static.load(resnet8, path)
    static.save(static.quantize(resnet8, [IMAGES], config()), path)
    with pytest.raises(ValueError, match="does not fit ResNet "):
        static.load(zoo.build("resnet14"), path)
    save_file({"x": torch.zeros(1)}, path, metadata={"config": json.dumps({})})
    with pytest.raises(ValueError, match="is no network that save wrote"):
        static.load(resnet8, path)
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match="is no network that save wrote"):
        static.load(resnet8, path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"calibrator": "best"}, "calibrator 'best' is not one of"),
        ({"weight_bits": 9}, "weight_bits 9 is not one of"),
        ({"engine": "tpu"}, "engine 'tpu'"),
        ({"granularity": "per_row"}, "granularity 'per_row'"),
        ({"kept_float": "fc"}, "kept_float 'fc' is one text"),
    ],
)
def test_a_configuration_that_is_not_allowed_is_named(changes, said):
    with pytest.raises(ValueError, match=said):
        config(**changes)


def test_an_empty_calibration_set_is_refused(resnet8):
    with pytest.raises(ValueError, match="there are no calibration batches"):
        static.quantize(resnet8, [], config())


def test_a_tiny_calibration_set_is_told(resnet8):
    with pytest.warns(QuantizationWarning, match="calibrated on 3 examples"):
        quantized = static.quantize(resnet8, [IMAGES[:3]], config())
    assert torch.isfinite(answers(quantized)).all()


def test_activations_that_are_not_finite_are_named(resnet8):
    with torch.no_grad():
        resnet8.stage1[0].conv1.weight.mul_(3e38)
    with pytest.raises(ValueError, match=r"stage1\.0\.conv1|folded weight"):
        static.quantize(resnet8, [IMAGES], config())


def test_a_dead_channel_is_told_and_stays_zero(mixed):
    with torch.no_grad():
        mixed.left.weight[2] = 0
    with pytest.warns(QuantizationWarning, match="'left' has 1 of 8 channels"):
        quantized = static.quantize(mixed, [IMAGES], config())
    assert int(quantized.converted.network.left.weight().int_repr()[2].abs().max()) == 0
    off = (answers(quantized) - answers(mixed)).abs().max()
    assert off < 0.1 * answers(mixed).abs().max()


def test_a_layer_that_never_runs_is_told(resnet8):
    resnet8.head = nn.Linear(4, 4)
    with pytest.warns(QuantizationWarning, match="'head' is never run"):
        quantized = static.quantize(resnet8, [IMAGES], config())
    assert "head" not in layers(quantized.simulated)


def test_a_layer_called_twice_is_refused_by_name():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(self.conv(x))

    with pytest.raises(ValueError, match=r"module .conv. .* is called 2 times"):
        static.quantize(Twice(), [IMAGES], config())


def test_what_is_quantized_already_is_refused_by_name(resnet8):
    quantized = static.quantize(resnet8, [IMAGES], config())
    for network in (quantized, quantized.converted, quantized.simulated):
        with pytest.raises(ValueError, match="is quantized already, "):
            static.quantize(network, [IMAGES], config())


def test_the_network_given_is_left_as_it_is(resnet8):
    before = {k: v.clone() for k, v in resnet8.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        static.quantize(resnet8, [(IMAGES, torch.zeros(40))], config())
    assert all(torch.equal(v, before[k]) for k, v in resnet8.state_dict().items())


def test_an_input_that_is_not_finite_is_refused(resnet8):
    quantized = static.quantize(resnet8, [IMAGES], config(engine=None))
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        quantized(IMAGES * torch.nan)


def test_keep_float_is_of_the_simulated_network_alone(resnet8):
    simulated = simulate(resnet8, config().simulation())
    keep_float(simulated, ("fc",))
    off = [p for p, q in quantizers(simulated).items() if not bool(q.quantizing)]
    assert sorted(off) == ["activation_quantizers.fc", "fc.weight_quantizer"]

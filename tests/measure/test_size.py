"""Sizes of a float network and of what torch.ao's eager convert makes of it."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.ao import quantization as ao

from qstudy.measure.size import float_tensors, quantized_tensors, safetensors_mib

pytestmark = pytest.mark.filterwarnings(
    # The quantized dtypes are what is weighed here, so their deprecation is known.
    "ignore:torch.quantize_per_tensor, torch.quantize_per_channel:UserWarning",
    "ignore:torch.ao.quantization is deprecated:DeprecationWarning",
    # torch's own fbgemm configuration asks for it.
    "ignore:Please use quant_min and quant_max:UserWarning",
)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = ao.QuantStub(), ao.DeQuantStub()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.plain = nn.Linear(4, 5, bias=False)
        self.add = torch.ao.nn.quantized.FloatFunctional()
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        x = self.relu(self.conv(self.quant(x))).mean((2, 3))
        x = self.plain(self.add.add(x, x))
        return self.head(self.dequant(x))


def converted(qconfig):
    torch.manual_seed(0)
    model = Small().eval()
    ao.fuse_modules(model, [["conv", "relu"]], inplace=True)
    model.qconfig = qconfig
    model.head.qconfig = None
    ao.prepare(model, inplace=True)
    model(torch.randn(4, 3, 8, 8))
    return ao.convert(model)


@pytest.mark.parametrize(
    ("qconfig", "channels"),
    [
        (ao.get_default_qconfig("fbgemm"), (4,)),
        (ao.default_qconfig, ()),
    ],
)
def test_quantized_network_is_taken_apart_completely(qconfig, channels):
    model = converted(qconfig)
    tensors = quantized_tensors(model)
    assert set(tensors) == {
        "quant.scale",
        "quant.zero_point",
        "conv.weight.codes",
        "conv.weight.scale",
        "conv.weight.zero_point",
        "conv.bias",
        "conv.scale",
        "conv.zero_point",
        "add.scale",
        "add.zero_point",
        "plain.weight.codes",
        "plain.weight.scale",
        "plain.weight.zero_point",
        "plain.scale",
        "plain.zero_point",
        "head.weight",
        "head.bias",
    }
    codes = tensors["conv.weight.codes"]
    scale, zero_point = tensors["conv.weight.scale"], tensors["conv.weight.zero_point"]
    assert codes.dtype == zero_point.dtype == torch.int8
    assert scale.dtype == torch.float32 and scale.shape == zero_point.shape == channels
    assert tensors["conv.zero_point"].dtype == torch.uint8
    # The parts give back, bit for bit, the weight that the engine multiplies by.
    shape = (-1, 1, 1, 1)
    rebuilt = (codes.float() - zero_point.float().reshape(shape)) * scale.reshape(shape)
    assert torch.equal(rebuilt, model.conv.weight().dequantize())
    assert torch.equal(tensors["conv.bias"], model.conv.bias())
    assert float(tensors["conv.scale"]) == model.conv.scale
    assert int(tensors["quant.zero_point"]) == int(model.quant.zero_point)


def test_dynamic_layers_have_no_output_scale():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(3, 5), nn.Linear(5, 2)

    model = ao.quantize_dynamic(Words(), {nn.LSTM, nn.Linear})
    tensors = quantized_tensors(model)
    assert {name for name in tensors if name.startswith("head")} == {
        "head.weight.codes",
        "head.weight.scale",
        "head.weight.zero_point",
        "head.bias",
    }
    assert tensors["lstm.weight_hh_l0.codes"].shape == (20, 5)
    assert tensors["lstm.weight_ih_l0.codes"].dtype == torch.int8
    assert tensors["lstm.bias_hh_l0"].dtype == torch.float32


def test_quantized_embedding_keeps_float_zero_points():
    model = nn.Sequential(nn.Embedding(7, 8))
    model.qconfig = ao.float_qparams_weight_only_qconfig
    model = ao.convert(ao.prepare(model))
    tensors = quantized_tensors(model)
    assert tensors["0.weight.codes"].dtype == torch.uint8
    assert tensors["0.weight.zero_point"].dtype == torch.float32
    assert set(tensors) == {f"0.weight.{p}" for p in ("codes", "scale", "zero_point")}


def test_float_tensors_are_what_inference_reads():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    model.register_buffer("positions", torch.zeros(9), persistent=False)
    assert set(float_tensors(model)) == {
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "2.bias",
    }


def test_mib_is_the_size_of_the_file(tmp_path):
    tensors = {"b": torch.arange(7, dtype=torch.int8), "a": torch.ones(3, 5)}
    save_file(tensors, tmp_path / "x.safetensors")
    expected = (tmp_path / "x.safetensors").stat().st_size / 2**20
    assert safetensors_mib(tensors) == expected
    # Views and shared memory weigh what they hold.
    tensors["a"] = torch.ones(5, 3).T
    shared = {**tensors, "c": tensors["b"]}
    assert safetensors_mib(tensors) == expected
    assert safetensors_mib(shared) > expected


def test_int8_is_nearly_a_quarter():
    model = nn.Sequential(nn.Linear(512, 512))
    small = quantized_tensors(ao.quantize_dynamic(model, {nn.Linear}))
    ratio = safetensors_mib(float_tensors(model)) / safetensors_mib(small)
    assert 3.9 < ratio < 4


def test_refusals():
    with pytest.raises(ValueError, match="no tensors"):
        safetensors_mib({})
    with pytest.raises(ValueError, match="no quantized weight"):
        quantized_tensors(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"w is a torch quantized tensor"):
        safetensors_mib(
            {"w": torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8)}
        )

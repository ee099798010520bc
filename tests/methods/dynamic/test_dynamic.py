"""Dynamic quantization: what is exchanged, what stays float, what is stored."""

import pytest
import torch
from torch import nn

from qstudy.experiments.dynamic import forms
from qstudy.measure import size, system
from qstudy.methods import dynamic
from qstudy.methods.dynamic import DynamicConfig, tensors
from qstudy.models import text

FBGEMM = pytest.mark.skipif(
    "fbgemm" not in system.engines(), reason="no fbgemm on this machine"
)
IDS = torch.arange(12).reshape(2, 6)


def encoder():
    return text.build("tiny_encoder", seed=1).eval()


@FBGEMM
def test_everything_without_a_kernel_is_listed_as_float():
    model = nn.Sequential(
        nn.Linear(8, 8), nn.Conv1d(8, 8, 1), nn.GRU(8, 8), nn.LayerNorm(8)
    )
    made = dynamic.quantize_dynamic(model, DynamicConfig())
    parts = {p.path: p for p in dynamic.coverage(model, made)}
    assert [p.quantized for p in parts.values()] == [True, False, False, False]
    assert [p.kind for p in parts.values()] == ["Linear", "Conv1d", "GRU", "LayerNorm"]
    assert sum(p.parameters for p in parts.values()) == sum(
        p.numel() for p in model.parameters()
    )


@FBGEMM
def test_a_network_without_a_covered_module_is_refused():
    with pytest.raises(ValueError, match="covers: Linear, LSTM"):
        dynamic.quantize_dynamic(nn.Sequential(nn.Conv1d(2, 2, 1)), DynamicConfig())
    with pytest.raises(ValueError, match="no Linear"):
        dynamic.quantize_torchao(nn.Sequential(nn.Conv1d(2, 2, 1)))


@FBGEMM
def test_the_model_given_stays_as_it_was():
    model = encoder()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for how in ("x86", "x86_embedding", "torchao", "bf16", "fp16_weights"):
        forms.form(model, how)
    after = model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


@FBGEMM
@pytest.mark.parametrize(
    "how", [h for h, f in forms.FORMS.items() if f.engine != "simulated"]
)
def test_every_form_stays_close_to_fp32_and_is_not_it(how):
    form = forms.FORMS[how]
    if form.engine not in ("", "torchao", *system.engines()):
        pytest.skip(f"no {form.engine} on this machine")
    model = encoder()
    made = forms.form(model, how)
    with torch.inference_mode():
        cosine = (model(IDS) * made(IDS).float()).sum(1)
    assert bool((cosine > 0.98).all())
    assert how == "fp32" or not torch.equal(model(IDS), made(IDS).float())


@FBGEMM
def test_sizes_follow_the_bits_and_a_shared_matrix_is_copied():
    model = encoder()
    parts = {
        how: forms.size_by_part(forms.form(model, how))
        for how in ("fp32", "bf16", "fp16_weights", "x86", "x86_embedding", "torchao")
    }
    weights = {how: p["weight"] for how, p in parts.items()}
    assert weights["fp32"] == pytest.approx(2 * weights["bf16"])
    assert weights["fp32"] == pytest.approx(2 * weights["fp16_weights"])
    assert weights["fp32"] == pytest.approx(4 * weights["x86"])
    assert weights["fp32"] == pytest.approx(4 * weights["torchao"])
    assert parts["x86"]["embedding"] == parts["fp32"]["embedding"]
    assert parts["x86_embedding"]["embedding"] == pytest.approx(
        parts["fp32"]["embedding"] / 4
    )
    lstm = text.build("tiny_lstm").eval()
    fp32 = forms.size_by_part(forms.form(lstm, "fp32"))
    int8 = forms.size_by_part(forms.form(lstm, "x86"))
    assert int8["embedding"] == fp32["embedding"] > 0
    recurrent = sum(p.numel() for p in lstm.lstm.parameters() if p.dim() == 2)
    copied = lstm.output.weight.numel()
    assert int8["weight"] == pytest.approx((recurrent + copied) / 2**20)


@FBGEMM
def test_stored_tensors_are_plain_and_hold_every_parameter():
    for how in ("x86", "fp16_weights", "torchao", "x86_embedding"):
        model = encoder()
        stored = tensors.stored_tensors(forms.form(model, how))
        assert size.safetensors_mib(stored) > 0
        codes = sum(
            t.numel()
            for t in stored.values()
            if t.dtype in (torch.int8, torch.uint8, torch.float16) and t.dim() == 2
        )
        expected = sum(
            m.weight.numel()
            for m in model.modules()
            if isinstance(
                m, (nn.Linear, nn.Embedding) if how == "x86_embedding" else nn.Linear
            )
        )
        assert codes == expected, how


@FBGEMM
def test_eight_bits_are_finer_than_seven_and_the_lstm_has_none():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64))
    x = torch.randn(32, 64)
    errors = {}
    for bits in (7, 8):
        config = DynamicConfig(weight_granularity="per_channel", activation_bits=bits)
        with torch.inference_mode():
            y = dynamic.quantize_dynamic(model, config)(x)
            errors[bits] = float((y - model(x)).square().mean())
    assert errors[8] < 0.7 * errors[7]
    with pytest.raises(ValueError, match="7-bit activations"):
        dynamic.quantize_dynamic(
            text.build("tiny_lstm"), DynamicConfig(activation_bits=8)
        )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"engine": "tpu"}, "tpu"),
        ({"dtype": "int4"}, "dtype 'int4'"),
        ({"weight_granularity": "per_row"}, "weight_granularity 'per_row'"),
        ({"activation_bits": 9}, "activation_bits 9"),
        ({"dtype": "fp16", "engine": "qnnpack"}, "no kernel for fp16"),
        ({"engine": "qnnpack"}, "ignores reduce_range"),
    ],
)
def test_configurations_that_cannot_be_are_named(wrong, said):
    with pytest.raises(ValueError, match=said):
        DynamicConfig(**wrong)


def test_unknown_forms_are_named():
    with pytest.raises(ValueError, match="form 'int3' is not one of"):
        forms.form(encoder(), "int3")


def test_simulated_static_ranges_clip_what_dynamic_ones_keep():
    model = encoder()
    paths = forms.linear_paths(model)
    wide = {}

    def watch(path, x):
        low, high = wide.get(path, (0.0, 0.0))
        wide[path] = (min(low, float(x.min())), max(high, float(x.max())))

    forms.observed_ranges(model, [IDS], watch=watch)
    assert sorted(wide) == sorted(paths)
    narrow = {p: (low / 8, high / 8) for p, (low, high) in wide.items()}
    with torch.inference_mode():
        found = {
            name: float((forms.simulated(model, r)(IDS) * model(IDS)).sum(1).mean())
            for name, r in (("dynamic", None), ("wide", wide), ("narrow", narrow))
        }
    assert found["dynamic"] > 0.999 and found["wide"] > 0.999
    assert found["narrow"] < found["wide"] - 1e-3
    assert not any(m._forward_pre_hooks for m in model.modules()), "hooks are gone"

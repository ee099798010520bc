"""Dynamic quantization: what is exchanged, what stays float, what is stored."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

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


class Wrapped(nn.Module):
    """A module whose output may be a tuple, keyword arguments, and a linear layer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, *, scale=1.0):
        y = self.inner(x)
        return scale * (y[0] if isinstance(y, tuple) else y)


class Tripled(nn.Linear):
    def forward(self, x):
        return 3 * super().forward(x)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


def linear(change=lambda layer: None):
    layer = nn.Linear(8, 8)
    change(layer)
    return nn.Sequential(layer)


def spoil(layer):
    layer.weight.data[0, 0] = torch.nan


def empty(layer):
    layer.weight = nn.Parameter(torch.empty(0, 8))


def replace_forward(layer):
    layer.forward = lambda x: 2 * x


@FBGEMM
@pytest.mark.parametrize(
    ("model", "x"),
    [
        (nn.Linear(8, 8), torch.randn(2, 8)),
        (nn.LSTM(8, 8), torch.randn(3, 2, 8)),
        (nn.Embedding(10, 8), IDS % 10),
    ],
    ids=["Linear", "LSTM", "Embedding"],
)
def test_a_bare_layer_is_exchanged_too(model, x):
    made = dynamic.quantize_dynamic(model, DynamicConfig(embedding=True))
    (part,) = dynamic.coverage(model, made)
    assert part.quantized and part.path == ""
    with torch.inference_mode():
        wanted, got = model(x), made(x)
    wanted, got = (y[0] if isinstance(y, tuple) else y for y in (wanted, got))
    assert wanted.shape == got.shape and not torch.equal(wanted, got)
    assert float((wanted - got).abs().max()) < 0.05 * float(wanted.abs().max())


@FBGEMM
@pytest.mark.parametrize("engine", ["x86", "qnnpack"])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(Tripled(8, 8)), "subclasses such as Tripled '0' stay in float"),
        (Attention(), "NonDynamicallyQuantizableLinear 'attention.out_proj' stay"),
        (Wrapped(nn.LSTM(8, 8, proj_size=4)), "LSTM 'inner' has proj_size 4"),
        (Wrapped(nn.LSTM(8, 8, bias=False)), "LSTM 'inner' has no bias"),
        (linear(spoil), "Linear '0' has a weight that holds NaN"),
        (linear(lambda m: m.half()), "weight of torch.float16: torch.float32 is"),
        (linear(lambda m: m.double()), "weight of torch.float64: torch.float32 is"),
        (linear(replace_forward), "Linear '0' has a forward of its own"),
        (linear(lambda m: prune.l1_unstructured(m, "weight", 0.5)), "prune.remove"),
        (linear(lambda m: nn.utils.spectral_norm(m)), "a weight that a hook computes"),
        (linear(parametrizations.weight_norm), "'0' is parametrized"),
        (nn.Sequential(nn.Linear(8, 8, device="meta")), "a weight without values"),
        (nn.Sequential(nn.LazyLinear(8)), "such as LazyLinear '0'"),
        (linear(empty), r"shape \(0, 8\), which is empty"),
        (nn.Embedding(10, 8, max_norm=0.1), "the network itself.* has max_norm 0.1"),
    ],
)
def test_what_torch_would_exchange_wrongly_or_not_at_all_is_named(model, said, engine):
    if engine not in system.engines():
        pytest.skip(f"no {engine} on this machine")
    bits = 8 if engine == "qnnpack" else 7
    config = DynamicConfig(engine=engine, activation_bits=bits, embedding=True)
    with pytest.raises(ValueError, match=said) as error:
        dynamic.quantize_dynamic(model, config)
    assert "\n" not in str(error.value)


@FBGEMM
def test_fp16_weights_beyond_its_range_are_refused():
    model = linear(lambda layer: layer.weight.data.fill_(7e4))
    with pytest.raises(ValueError, match=r"7e.04, beyond fp16's 65504: use int8"):
        dynamic.quantize_dynamic(model, DynamicConfig(dtype="fp16"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Attention(), "no Linear that torchao exchanges: NonDynamicallyQ"),
        (linear(spoil), "Linear '0' has a weight that holds NaN"),
        (linear(lambda m: m.double()), "Linear '0' has a weight of torch.float64"),
        (linear(lambda m: prune.l1_unstructured(m, "weight", 0.5)), "prune.remove"),
        (linear(parametrizations.weight_norm), "'0' is parametrized"),
        (linear(replace_forward), "Linear '0' has a forward of its own"),
        (nn.Sequential(nn.LazyLinear(8)), "LazyLinear '0' has a weight without values"),
    ],
)
def test_torchao_is_not_given_what_it_takes_wrongly(model, said):
    with pytest.raises(ValueError, match=said) as error:
        dynamic.quantize_torchao(model)
    assert "\n" not in str(error.value)


@FBGEMM
def test_a_subclass_beside_a_linear_layer_stays_what_it_is():
    model = nn.Sequential(nn.Linear(8, 8), Tripled(8, 8)).eval()
    made = dynamic.quantize_dynamic(model, DynamicConfig())
    assert [p.quantized for p in dynamic.coverage(model, made)] == [True, False]
    x = torch.randn(4, 8)
    with torch.inference_mode():
        assert torch.equal(made.network[1](x), model[1](x))


@FBGEMM
def test_torch_s_encoder_layer_runs_quantized_and_its_fast_path_comes_back():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    made = dynamic.quantize_dynamic(model, DynamicConfig())
    x, mask = torch.randn(2, 3, 8), torch.tensor([[False] * 3, [False, False, True]])
    with torch.inference_mode():
        wanted = model(x, src_key_padding_mask=mask)
        got = made(x, src_key_padding_mask=mask)
    kept = ~mask
    assert float((wanted - got)[kept].abs().max()) < 0.1
    assert not torch.equal(wanted[kept], got[kept])
    assert torch.backends.mha.get_fastpath_enabled()
    assert sum(p.quantized for p in dynamic.coverage(model, made)) == 4


@FBGEMM
def test_keyword_arguments_reach_the_network():
    model = Wrapped(nn.Linear(8, 8))
    made = dynamic.quantize_dynamic(model, DynamicConfig())
    x = torch.randn(4, 8)
    with torch.inference_mode():
        assert torch.equal(made(x, scale=2.0), 2 * made(x))
        assert torch.equal(made(x=x), made(x))


@FBGEMM
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.half(), r"input 1 is torch.float16: the .* takes torch.float32"),
        (lambda x: x.double(), "input 1 is torch.float64"),
        (lambda x: x.index_fill(1, torch.tensor([3]), torch.nan), "1 holds NaN"),
        (lambda x: x.index_fill(1, torch.tensor([3]), torch.inf), "1 holds NaN"),
    ],
)
def test_inputs_that_the_kernels_cannot_read_are_told_in_one_line(change, said):
    made = dynamic.quantize_dynamic(linear(), DynamicConfig())
    with pytest.raises(ValueError, match=said) as error:
        made(change(torch.randn(2, 8)))
    assert "\n" not in str(error.value)
    # A sum that overflows float32 is no infinity.
    with torch.inference_mode():
        assert bool(torch.isfinite(made(torch.full((2, 8), 1e38))).all())

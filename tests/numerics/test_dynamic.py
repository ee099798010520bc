"""The dynamic linear: the very bits of the engines, and what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qstudy.measure import system
from qstudy.methods.dynamic import kernels
from qstudy.numerics.dynamic import activation_qparams, dynamic_linear

HERE = kernels.kernels()
WITH_VNNI = pytest.mark.skipif(
    "vnni" not in system.describe()["isa_class"], reason="other kernels without VNNI"
)


def layer(inputs, outputs, *, bias, seed):
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.normal_(generator=generator)
    return linear, generator


@WITH_VNNI
@pytest.mark.parametrize("kernel", HERE, ids=[k.name for k in HERE])
@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(1, 40),
    inputs=st.sampled_from([8, 33, 64, 384]),
    outputs=st.sampled_from([16, 65, 384]),
    bias=st.booleans(),
    offset=st.sampled_from([-3.0, 0.0, 0.2]),
    seed=st.integers(0, 2**16),
)
def test_every_kernel_gives_the_same_bits(
    kernel, rows, inputs, outputs, bias, offset, seed
):
    linear, generator = layer(inputs, outputs, bias=bias, seed=seed)
    x = torch.randn(rows, inputs, generator=generator) * 2 + offset
    outcome = kernels.compare(kernel, linear, [x])
    assert outcome.count == rows * outputs and outcome.differing == 0


@WITH_VNNI
def test_the_order_of_the_last_multiplications_is_seen():
    kernel = next(k for k in HERE if k.engine == "fbgemm")
    linear, generator = layer(384, 384, bias=True, seed=0)
    x = torch.randn(32, 384, generator=generator)
    codes, scale = kernels.quantized_weight(
        linear.weight.detach(), granularity=kernel.granularity
    )
    theirs = kernels.theirs(kernel, linear)(x)
    other = dynamic_linear(
        x,
        codes,
        scale,
        linear.bias.detach(),
        activation_bits=kernel.activation_bits,
        order="sequence",
    )
    assert not torch.equal(other, theirs)
    torch.testing.assert_close(other, theirs, rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(1e-2, 1e3))
def test_the_result_is_within_the_bound_of_the_exact_product(seed, scale):
    linear, generator = layer(24, 10, bias=True, seed=seed)
    x = torch.randn(6, 24, generator=generator) * scale
    codes, weight_scale = kernels.quantized_weight(
        linear.weight.detach(), granularity="per_channel"
    )
    for activation in ("per_tensor", "per_token"):
        y = dynamic_linear(
            x, codes, weight_scale, activation=activation, order="product"
        )
        step = activation_qparams(x, activation=activation).scale.float().reshape(-1, 1)
        weight = codes.float() * weight_scale[:, None]
        exact = x.double() @ weight.double().t()
        # Half a step of x for each of the weights it meets, one for the zero point.
        bound = 1.01 * step * weight.abs().sum(1) + 1e-5 * scale
        assert bool(((y - exact).abs() <= bound).all())


def test_rows_do_not_disturb_each_other_per_token_but_do_per_tensor():
    linear, generator = layer(16, 8, bias=False, seed=3)
    x = torch.randn(4, 16, generator=generator)
    loud = torch.cat([x, 100 * x[:1]])
    codes, scale = kernels.quantized_weight(
        linear.weight.detach(), granularity="per_channel"
    )
    one, other = (
        dynamic_linear(v, codes, scale, activation="per_token") for v in (x, loud)
    )
    assert torch.equal(one, other[:4])
    one, other = (dynamic_linear(v, codes, scale) for v in (x, loud))
    assert not torch.equal(one, other[:4])


def test_leading_axes_are_kept_and_zeros_give_the_bias():
    codes = torch.ones(5, 8, dtype=torch.int8)
    bias = torch.arange(5.0)
    y = dynamic_linear(torch.zeros(2, 3, 8), codes, torch.tensor(0.1), bias)
    assert y.shape == (2, 3, 5) and torch.equal(y, bias.expand(2, 3, 5))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order": "reverse"}, "order 'reverse' is not one of"),
        ({"activation": "per_word"}, "activation 'per_word' is not one of"),
        ({"activation_bits": 6}, "activation bits 6"),
        ({"activation": "per_token", "activation_bits": 7}, "activation bits 7"),
    ],
)
def test_what_is_not_allowed_is_named(options, said):
    codes = torch.ones(2, 8, dtype=torch.int8)
    with pytest.raises(ValueError, match=said):
        dynamic_linear(torch.ones(1, 8), codes, torch.tensor(1.0), **options)


@pytest.mark.parametrize("x", [torch.full((1, 8), float("nan")), torch.ones(0, 8)])
def test_nan_and_empty_inputs_are_refused(x):
    with pytest.raises(ValueError, match=r"x holds nan|at least one"):
        dynamic_linear(x, torch.ones(2, 8, dtype=torch.int8), torch.tensor(1.0))

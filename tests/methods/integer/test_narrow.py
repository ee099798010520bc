"""A layer in narrow tensors, against the same arithmetic in wide ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qstudy.methods.integer.arithmetic import FixedPoint, IntegerLayer
from qstudy.methods.integer.narrow import NarrowLayer
from qstudy.numerics.elementwise import Affine
from qstudy.numerics.fixedpoint import ROUNDING_MODES


def layer(generator, *, convolution, per_channel, bias, relu, output_zero=3):
    shape = (4, 3, 3, 3) if convolution else (4, 6)
    scales = torch.rand((4,) if per_channel else (), generator=generator)
    return IntegerLayer(
        weight=torch.randint(-128, 128, shape, generator=generator).to(torch.int8),
        weight_scale=0.001 + 0.01 * scales,
        bias=torch.randn(4, generator=generator) if bias else None,
        input=Affine(0.02, 117),
        output=Affine(0.05, output_zero),
        relu=relu,
        padding=1 if convolution else 0,
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rounding=st.sampled_from(ROUNDING_MODES),
    flags=st.fixed_dictionaries(
        dict.fromkeys(("convolution", "per_channel", "bias", "relu"), st.booleans())
    ),
    output_zero=st.integers(0, 255),
)
def test_narrow_types_give_the_codes_of_wide_ones(seed, rounding, flags, output_zero):
    generator = torch.Generator().manual_seed(seed)
    made = layer(generator, **flags, output_zero=output_zero)
    shape = (2, 3, 5, 5) if flags["convolution"] else (2, 6)
    codes = torch.randint(0, 256, shape, generator=generator)
    wide = FixedPoint.of([made], rounding=rounding)
    expected = wide.requantize(made.sums(codes), made)
    narrow = NarrowLayer(made, rounding=rounding)
    found = narrow(codes.to(torch.uint8))
    assert found.dtype == torch.uint8
    assert torch.equal(found.to(torch.int32), expected)


def test_each_tensor_has_the_type_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    made = layer(generator, convolution=True, per_channel=True, bias=True, relu=True)
    types = {name: t.dtype for name, t in NarrowLayer(made).named_buffers()}
    assert types == {
        "weight": torch.int8,
        "bias": torch.int32,
        "mantissa": torch.int32,
        "shift": torch.int8,
    }


def test_a_sum_that_would_wrap_is_an_error():
    generator = torch.Generator().manual_seed(0)
    made = layer(generator, convolution=False, per_channel=False, bias=True, relu=False)
    narrow = NarrowLayer(made)
    narrow.bias.fill_(2**31 - 1)
    codes = torch.full((1, 6), 255, dtype=torch.uint8)
    narrow.weight.fill_(127)
    with pytest.raises(ValueError, match=r"a sum with its bias from .* leaves int32"):
        narrow(codes)

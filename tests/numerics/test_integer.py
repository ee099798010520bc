"""Integer sums against int64 NumPy and torch's float64 convolution, which are exact."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from qstudy.numerics import integer
from qstudy.numerics.integer import (
    clamp_relu,
    conv2d_sums,
    linear_sums,
    max_pool2d,
    window_sums,
)

SEEDS = st.integers(0, 2**31)
# (dtype, lowest code, highest code)
SORTS = [
    (torch.int8, -128, 127),
    (torch.uint8, 0, 255),
    (torch.int32, -8, 7),
    (torch.int16, 0, 15),
    (torch.int16, -32768, 32767),
    (torch.int64, 0, 65535),
]
BYTES = SORTS[:4]


def codes(seed, shape, sort):
    dtype, low, high = sort
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high + 1, shape, generator=generator).to(dtype)


def exact_linear(x, weight, z_x, z_w):
    x = x.numpy().astype(np.int64) - z_x
    w = weight.numpy().astype(np.int64) - np.asarray(z_w, np.int64).reshape(-1, 1)
    return x @ w.T


def exact_conv(x, weight, z_x, z_w, **more):
    zero = torch.as_tensor(z_w, dtype=torch.float64).reshape(-1, 1, 1, 1)
    return functional.conv2d(x.double() - z_x, weight.double() - zero, **more)


def both_routes(call, x, weight, **more):
    """The sums by the fast route, after seeing that the slow one gives the same."""
    fast = call(x, weight, fast=True, **more)
    slow = call(x.to(torch.int64), weight.to(torch.int64), fast=False, **more)
    assert fast.dtype == slow.dtype == torch.int32
    assert torch.equal(fast, slow)
    return fast


@settings(max_examples=50)
@given(
    seed=SEEDS,
    sort=st.sampled_from(SORTS[:5]),
    weights=st.sampled_from(SORTS[:4]),
    sizes=st.tuples(st.integers(1, 5), st.integers(2, 40), st.integers(1, 6)),
    zeros=st.sampled_from(["none", "tensor", "channel"]),
    data=st.data(),
)
def test_linear_sums_are_exact(seed, sort, weights, sizes, zeros, data):
    n, k, c = sizes
    x, w = codes(seed, (n, k), sort), codes(seed + 1, (c, k), weights)
    z_x = data.draw(st.sampled_from([*sort[1:], (sort[1] + sort[2]) // 2 + 1]))
    z_w = {
        "none": 0,
        "tensor": data.draw(st.integers(*weights[1:])),
        "channel": codes(seed + 2, (c,), weights),
    }[zeros]
    got = both_routes(
        linear_sums, x, w, input_zero_point=z_x, weight_zero_point=z_w
    )  # fmt: skip
    plain = z_w.numpy() if zeros == "channel" else z_w
    assert got.tolist() == exact_linear(x, w, z_x, plain).tolist()


@pytest.mark.parametrize("sort", BYTES)
@pytest.mark.parametrize("weights", BYTES)
@pytest.mark.parametrize("k", [2, 513])
def test_linear_sums_of_extreme_codes_are_exact(sort, weights, k):
    for a in sort[1:]:
        for b in weights[1:]:
            x = torch.full((2, k), a, dtype=sort[0])
            w = torch.full((3, k), b, dtype=weights[0])
            for z_x in sort[1:]:
                for z_w in (0, *weights[1:]):
                    got = both_routes(
                        linear_sums, x, w, input_zero_point=z_x, weight_zero_point=z_w
                    )
                    assert got.tolist() == [[k * (a - z_x) * (b - z_w)] * 3] * 2


def test_the_int32_product_is_used_for_bytes_and_not_where_it_could_wrap(monkeypatch):
    calls = []
    real = torch._int_mm

    def counted(a, b):
        calls.append(a.shape[1])
        return real(a, b)

    monkeypatch.setattr(integer.torch, "_int_mm", counted)
    x, w = torch.full((1, 8), 255, dtype=torch.uint8), torch.ones(2, 8).to(torch.int8)
    linear_sums(x, w, input_zero_point=3)
    assert calls == [8, 8]  # half of each weight, and its last bit
    linear_sums(x, w, input_zero_point=3, fast=False)
    linear_sums(x, w.to(torch.int16) + 200, input_zero_point=3)
    linear_sums(x.to(torch.int16) + 1, w, input_zero_point=3)
    assert calls == [8, 8]
    # With one product more than fit, the sum is exact all the same, by another route.
    for count, used in ((65_793, []), (65_792, [65_792] * 2)):
        long = torch.full((1, count), -128, dtype=torch.int8)
        got = linear_sums(long, long, input_zero_point=127)
        assert got.tolist() == [[255 * 128 * count]]
        assert calls == [8, 8, *used]


@settings(max_examples=50)
@given(
    seed=SEEDS,
    sort=st.sampled_from(SORTS[:5]),
    weights=st.sampled_from(SORTS[:4]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    zeros=st.sampled_from(["none", "tensor", "channel"]),
    data=st.data(),
)
def test_convolution_sums_are_exact(
    seed, sort, weights, kernel, stride, padding, dilation, groups, zeros, data
):
    x = codes(seed, (2, 4, 6, 5), sort)
    w = codes(seed + 1, (8, 4 // groups, *kernel), weights)
    z_x = data.draw(st.sampled_from([*sort[1:], (sort[1] + sort[2]) // 2 + 1]))
    z_w = {
        "none": 0,
        "tensor": data.draw(st.integers(*weights[1:])),
        "channel": codes(seed + 2, (8,), weights),
    }[zeros]
    more = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups
    }  # fmt: skip
    wanted = exact_conv(x, w, z_x, z_w, **more)
    assume(wanted.abs().max() < 2**31)
    # One product a sum: the defect of its own test below.
    assume(w[0].numel() > 1)
    got = both_routes(
        conv2d_sums, x, w, input_zero_point=z_x, weight_zero_point=z_w, **more
    )
    assert got.shape == wanted.shape
    assert torch.equal(got.double(), wanted)


@pytest.mark.parametrize("sort", BYTES)
def test_a_depthwise_convolution_keeps_its_channels_apart(sort):
    x, w = codes(0, (1, 3, 5, 5), sort), codes(1, (3, 1, 3, 3), SORTS[0])
    z_x = sort[2]
    got = both_routes(conv2d_sums, x, w, input_zero_point=z_x, padding=1, groups=3)
    for channel in range(3):
        part = slice(channel, channel + 1)
        alone = exact_conv(x[:, part], w[part], z_x, 0, padding=1)
        assert torch.equal(got[:, part].double(), alone)


@pytest.mark.parametrize("sort", BYTES)
@pytest.mark.parametrize("weight", [-128, 127])
def test_padding_adds_nothing_whatever_the_zero_point(sort, weight):
    w = torch.full((1, 2, 3, 3), weight, dtype=torch.int8)
    for z_x in sort[1:]:
        x = torch.full((1, 2, 2, 2), z_x, dtype=sort[0])
        got = both_routes(
            conv2d_sums, x, w, input_zero_point=z_x, weight_zero_point=5, padding=2
        )
        assert got.shape == (1, 1, 4, 4)
        assert not bool(got.any())


@pytest.mark.parametrize("fast", [True, False])
def test_a_sum_that_leaves_int32_is_refused(fast):
    x = torch.full((1, 3), 32767, dtype=torch.int16)
    message = f"a sum of products from .*{3 * 32767**2} leaves int32"
    with pytest.raises(ValueError, match=message):
        linear_sums(x, x, input_zero_point=0, fast=fast)
    with pytest.raises(ValueError, match=message):
        image = x.reshape(1, 3, 1, 1)
        conv2d_sums(image, image, input_zero_point=0, fast=fast)
    assert linear_sums(x[:, :1], x[:, :1], input_zero_point=0).item() == 32767**2
    x = torch.full((1, 2**17), 127, dtype=torch.int8)
    with pytest.raises(ValueError, match=f"products from {2**17 * 255 * -128} to"):
        linear_sums(x, -1 - x, input_zero_point=-128, fast=fast)


@pytest.mark.parametrize("call", [linear_sums, conv2d_sums])
def test_floats_and_wrong_shapes_are_refused(call):
    axes = 2 if call is linear_sums else 4
    good = torch.ones([1] * axes, dtype=torch.int8)
    for bad in (good.float(), good[0], good[:0]):
        with pytest.raises(
            ValueError, match=f"codes (is|are).*(integers|with {axes} axes) are needed"
        ):
            call(bad, good, input_zero_point=0)
        with pytest.raises(
            ValueError, match=f"weight .*(integers|{axes} axes) are nee"
        ):
            call(good, bad, input_zero_point=0)


def test_columns_channels_and_kernels_that_do_not_fit_are_refused():
    x, w = torch.ones(2, 3).int(), torch.ones(4, 5).int()
    with pytest.raises(ValueError, match=r"\(2, 3\) have 3 columns .* needs 5"):
        linear_sums(x, w, input_zero_point=0)
    image, kernel = torch.ones(1, 4, 3, 3).int(), torch.ones(3, 2, 2, 2).int()
    for groups in (1, 2):
        with pytest.raises(ValueError, match=rf"4 input channels in {groups} groups"):
            conv2d_sums(image, kernel, input_zero_point=0, groups=groups)
    big = torch.ones(1, 4, 2, 2).int()
    with pytest.raises(ValueError, match=r"spans 4 does not fit codes of shape"):
        conv2d_sums(image, big, input_zero_point=0, dilation=3)


@settings(max_examples=40)
@given(
    seed=SEEDS, sort=st.sampled_from(SORTS), size=st.integers(1, 3),
    stride=st.integers(1, 3),
)  # fmt: skip
def test_windows_are_pooled_as_torch_pools_them(seed, sort, size, stride):
    x = codes(seed, (2, 3, 6, 5), sort)
    largest = functional.max_pool2d(x.double(), size, stride)
    got = max_pool2d(x, size=size, stride=stride)
    assert got.dtype == x.dtype
    assert torch.equal(got.double(), largest)
    sums = functional.avg_pool2d(x.double(), size, stride, divisor_override=1)
    got = window_sums(x, size=size, stride=stride)
    assert got.dtype == torch.int64
    assert torch.equal(got.double(), sums)


def test_the_sum_of_a_window_does_not_wrap_in_bytes():
    x = torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
    assert window_sums(x, size=2, stride=2).item() == 1020


@pytest.mark.parametrize("call", [max_pool2d, window_sums])
def test_windows_that_do_not_fit_are_refused(call):
    x = torch.ones(1, 1, 2, 5).int()
    with pytest.raises(ValueError, match=r"a window of 3 does not fit"):
        call(x, size=3, stride=1)
    with pytest.raises(ValueError, match=r"codes is torch\.float32"):
        call(x.float(), size=1, stride=1)
    with pytest.raises(ValueError, match="integers with 4 axes"):
        call(x[0], size=1, stride=1)


def test_relu_on_codes_is_relu_on_the_values():
    x = torch.arange(-128, 128, dtype=torch.int8)
    scale, zero = 0.05, -20
    real = (x.double() - zero) * scale
    got = clamp_relu(x, zero_point=zero)
    assert torch.equal((got.double() - zero) * scale, real.clamp(min=0))
    got = clamp_relu(x, zero_point=zero, six=100)
    assert torch.equal((got.double() - zero) * scale, real.clamp(0, 6))
    assert got.dtype == torch.int8


@pytest.mark.parametrize("fast", [True, False])
def test_codes_that_lie_apart_in_memory_are_summed(fast):
    x, w = codes(0, (7, 5), SORTS[0]), codes(1, (7, 4), SORTS[0])
    wanted = exact_linear(x.t(), w.t(), 3, 0).tolist()
    assert linear_sums(x.t(), w.t(), input_zero_point=3, fast=fast).tolist() == wanted
    wanted = exact_linear(x[::3, 1::2], w[:3, ::2], 3, 0).tolist()
    got = linear_sums(x[::3, 1::2], w[:3, ::2], input_zero_point=3, fast=fast)
    assert got.tolist() == wanted


def test_sums_of_one_product_are_exact():
    x = torch.tensor([[3], [5]], dtype=torch.int8)
    w = torch.tensor([[1], [2]], dtype=torch.int8)
    assert linear_sums(x, w, input_zero_point=0).tolist() == [[3, 6], [5, 10]]
    images, kernels = x.reshape(2, 1, 1, 1), w.reshape(2, 1, 1, 1)
    got = conv2d_sums(images, kernels, input_zero_point=0)
    assert got.flatten(1).tolist() == [[3, 6], [5, 10]]


@pytest.mark.parametrize(
    "bad", [torch.zeros(3).int(), torch.ones(3).int(), 0.7, torch.tensor([0.7, 0.7])]
)
def test_weight_zero_points_that_do_not_fit_are_refused(bad):
    x, w = torch.ones(1, 4).int(), torch.ones(2, 4).int()
    with pytest.raises(ValueError):
        linear_sums(x, w, input_zero_point=0, weight_zero_point=bad)

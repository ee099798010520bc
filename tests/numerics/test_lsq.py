"""LSQ's quantizer against the paper's pseudocode, torch's kernel and exact codes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qstudy.numerics import lsq
from qstudy.numerics.granularity import PerChannel, PerTensor
from qstudy.numerics.lsq import BOUNDS, fake_quantize, learned_codes, step_gradient
from qstudy.numerics.mapping import CodeRange, QParams, quantize

CASES = st.tuples(st.integers(0, 2**31), st.integers(2, 8), st.booleans())
# Q_N and Q_P of every kind of tensor that the networks hold
KINDS = [(bits, signed) for bits in (2, 3, 4, 8) for signed in (True, False)]


def drawn(seed, codes, *, channels=3, size=60, dtype=torch.float64):
    """(v reaching well beyond both bounds, steps (C,), the gradient that arrives)."""
    generator = torch.Generator().manual_seed(seed)
    steps = 10 ** torch.empty(channels, dtype=dtype).uniform_(
        -4, 1, generator=generator
    )
    width = 0.75 * codes.levels + 2
    quotients = torch.empty(channels, size, dtype=dtype)
    quotients.uniform_(-width, width, generator=generator)
    gradient = torch.randn(channels, size, generator=generator, dtype=dtype)
    return quotients * steps[:, None], steps, gradient


def gradients(function, *tensors, gradient):
    """(value, gradient of each tensor) where `gradient` arrives at the value."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    value = function(*leaves)
    return value.detach(), *torch.autograd.grad(value, leaves, gradient)


def pseudocode(v, s, *, codes, g):
    """The paper's own: gradscale, roundpass and clip, differentiated by torch."""

    def scaled(x):
        return (x - x * g).detach() + x * g

    quotient = torch.clamp(v / scaled(s), codes.low, codes.high)
    return ((torch.round(quotient) - quotient).detach() + quotient) * scaled(s)


def close(a, b, *, within=1e-12):
    """Whether `a` is `b` to `within` of the largest magnitude in `b`."""
    return bool((a - b).abs().max() <= within * b.abs().max().clamp(min=1e-300))


@settings(max_examples=60, deadline=None)
@given(CASES, st.floats(1e-4, 10.0))
def test_value_and_gradients_are_the_papers(case, g):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v, steps, gradient = drawn(seed, codes)
    v, s, gradient = v[0], steps[0], gradient[0]
    ours = gradients(
        lambda v, s: fake_quantize(v, s, codes=codes, gradient_scale=g),
        v,
        s,
        gradient=gradient,
    )
    theirs = gradients(
        lambda v, s: pseudocode(v, s, codes=codes, g=g), v, s, gradient=gradient
    )
    for mine, papers in zip(ours, theirs, strict=True):
        assert mine.shape == papers.shape
        # The sum over many values may cancel: judged by what is summed.
        size = gradient.abs().sum() * codes.levels if mine.dim() == 0 else papers.abs()
        assert bool(((mine - papers).abs() <= 1e-12 * (1 + g) * (size + s)).all())


@pytest.mark.parametrize(("bits", "signed"), KINDS)
def test_each_branch_of_equation_3(bits, signed):
    codes = learned_codes(bits, signed=signed)
    low, high = codes.low, codes.high
    # A step that is a power of two leaves the quotients exact.
    quotients = torch.tensor([low - 3, low, high, high + 0.25, high + 7, high - 0.75])
    v = (0.25 * quotients).requires_grad_()
    s = torch.tensor(0.25)
    expected = torch.tensor([low, low, high, high, high, (high - 1) - (high - 0.75)])
    assert torch.equal(step_gradient(v.detach(), s, codes=codes), expected.float())
    fake_quantize(v, s, codes=codes).sum().backward()
    assert v.grad.tolist() == [0, 0, 0, 0, 0, 1]


def elementwise(function, v, steps, gradient):
    """`gradients` of a quantizer called with a step for each value of `v` (n,)."""
    return gradients(function, v, steps, gradient=gradient)


def torchs(codes):
    def function(v, steps):
        zeros = torch.zeros(len(v), dtype=v.dtype)
        return torch._fake_quantize_learnable_per_channel_affine(
            v[:, None], steps, zeros, 0, codes.low, codes.high, 1.0
        )[:, 0]

    return function


def ours(codes, bounds):
    def function(v, steps):
        return fake_quantize(
            v[:, None],
            steps,
            codes=codes,
            bounds=bounds,
            granularity=PerChannel(0),
        )[:, 0]

    return function


def no_tie(quotients):
    # torch multiplies by the inverse in float32, so what is near a tie may fall
    # either way; the rules themselves are not about that.
    return ((quotients - quotients.floor()) - 0.5).abs() > 1e-3


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_torchs_rule_is_torchs_kernel_and_the_papers_differs_in_the_bands(case):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v, steps, gradient = drawn(seed, codes, channels=400, size=1, dtype=torch.float32)
    v, gradient = v[:, 0], gradient[:, 0]
    quotients = v.double() / steps.double()
    kept = no_tie(quotients)
    # ... nor about the few values within rounding of a bound
    kept &= (quotients - codes.low).abs() > 1e-4
    kept &= (quotients - codes.high).abs() > 1e-4
    v, steps, gradient, quotients = (t[kept] for t in (v, steps, gradient, quotients))
    kernel = elementwise(torchs(codes), v, steps, gradient)
    same = elementwise(ours(codes, "torch"), v, steps, gradient)
    paper = elementwise(ours(codes, "paper"), v, steps, gradient)

    tolerance = 1e-5 * codes.levels
    for mine, theirs in zip(same, kernel, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-5, atol=tolerance)
    band = (quotients > codes.high) & (quotients < codes.high + 0.5)
    band |= (quotients < codes.low) & (quotients > codes.low - 0.5)
    value, of_v, of_s = paper
    assert torch.allclose(value, kernel[0], rtol=1e-5, atol=1e-6)
    assert torch.equal(of_v[~band], kernel[1][~band])
    assert torch.allclose(of_s[~band], kernel[2][~band], rtol=1e-5, atol=tolerance)

    # Inside the bands: the bound and 0 in the paper, the error and 1 in torch.
    bound = torch.where(quotients > 0, codes.high, codes.low).float()
    assert torch.equal(of_v[band], torch.zeros_like(of_v[band]))
    assert torch.equal(kernel[1][band], gradient[band])
    assert torch.allclose(of_s[band], (gradient * bound)[band])
    error = (gradient * (bound - quotients.float()))[band]
    assert torch.allclose(kernel[2][band], error, atol=tolerance)


def test_the_published_example_of_a_band():
    v, s = torch.tensor([7.3]), torch.tensor(1.0)
    codes = CodeRange(0, 7)
    assert step_gradient(v, s, codes=codes).item() == 7
    assert step_gradient(v, s, codes=codes, bounds="torch").item() == pytest.approx(
        -0.3
    )


@pytest.mark.parametrize(("bits", "signed"), KINDS)
def test_bounds_and_outer_ties_by_rule(bits, signed):
    codes = learned_codes(bits, signed=signed)
    v = torch.tensor([codes.low - 0.5, codes.low, codes.high, codes.high + 0.5])
    one = torch.tensor(1.0)
    gradients_of = {
        bounds: gradients(
            lambda v, b=bounds: fake_quantize(v, one, codes=codes, bounds=b),
            v,
            gradient=torch.ones(4),
        )[1].tolist()
        for bounds in BOUNDS
    }
    # Q_P is odd and -Q_N even, so the lower tie rounds to a code and the upper past it.
    assert gradients_of == {"paper": [0, 0, 0, 0], "torch": [1, 1, 1, 0]}


@settings(max_examples=30, deadline=None)
@given(CASES, st.sampled_from(BOUNDS))
def test_a_step_a_channel_is_a_step_a_tensor_for_each(case, bounds):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v, steps, gradient = drawn(seed, codes)
    value, of_v, of_s = gradients(
        lambda v, s: fake_quantize(
            v, s, codes=codes, bounds=bounds, granularity=PerChannel(0)
        ),
        v,
        steps,
        gradient=gradient,
    )
    assert of_s.shape == (3,)
    for c in range(3):
        alone = gradients(
            lambda v, s: fake_quantize(v, s, codes=codes, bounds=bounds),
            v[c],
            steps[c],
            gradient=gradient[c],
        )
        assert torch.equal(value[c], alone[0])
        assert torch.equal(of_v[c], alone[1])
        size = (gradient[c].abs() * codes.levels).sum()
        assert (of_s[c] - alone[2]).abs() <= 1e-13 * size


@settings(max_examples=40, deadline=None)
@given(CASES, st.floats(1e-3, 2.0))
def test_the_offset_is_lsq_plus(case, g):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v, steps, gradient = drawn(seed, codes)
    v, s, gradient = v[0], steps[0], gradient[0]
    b = 1.7 * s
    value, of_v, of_s, of_b = gradients(
        lambda v, s, b: fake_quantize(v, s, codes=codes, offset=b, gradient_scale=g),
        v,
        s,
        b,
        gradient=gradient,
    )
    # Bhalgat et al., written out.
    quotient = (v - b) / s
    inside = (quotient > codes.low) & (quotient < codes.high)
    rounded = quotient.clamp(codes.low, codes.high).round()
    assert close(value, rounded * s + b)
    assert torch.equal(of_v, gradient * inside)
    by_step = torch.where(inside, rounded - quotient, rounded)
    size = (gradient.abs() * codes.levels).sum() * g
    assert (of_s - g * (gradient * by_step).sum()).abs() <= 1e-12 * size
    assert (of_b - g * (gradient * ~inside).sum()).abs() <= 1e-12 * size


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_the_codes_are_those_of_the_plain_quantizer(case):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v, steps, _ = drawn(seed, codes, dtype=torch.float32)
    s = steps[0]
    plain = QParams(s, torch.tensor(0), codes, PerTensor())
    assert torch.equal(fake_quantize(v, s, codes=codes), quantize(v, plain).float() * s)


def test_arithmetic_is_float32_under_autocast_and_for_short_dtypes():
    codes = learned_codes(4, signed=True)
    v, steps, _ = drawn(3, codes, dtype=torch.float32)
    short = v.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        leaf = short.clone().requires_grad_()
        s = steps[0].clone().requires_grad_()
        cast = fake_quantize(leaf, s, codes=codes)
        cast.sum().backward()
    assert cast.dtype == torch.float32
    assert torch.equal(cast, fake_quantize(short.float(), steps[0], codes=codes))
    assert leaf.grad.dtype == torch.bfloat16
    assert s.grad.dtype == torch.float32
    assert fake_quantize(v.double(), steps[0].double(), codes=codes).dtype == (
        torch.float64
    )


# torch's own tracer makes an instance of every autograd.Function that it meets.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(0)])
def test_it_compiles_as_one_graph_to_the_same_numbers(bounds, granularity):
    codes = learned_codes(2, signed=True)
    v, steps, gradient = drawn(5, codes, dtype=torch.float32)
    s = steps if isinstance(granularity, PerChannel) else steps[0]

    def quantizer(v, s, b):
        return fake_quantize(
            v,
            s,
            codes=codes,
            bounds=bounds,
            granularity=granularity,
            offset=b,
            gradient_scale=0.5,
        )

    compiled = torch.compile(quantizer, fullgraph=True, backend="aot_eager")
    for mine, plain in zip(
        gradients(compiled, v, s, s / 3, gradient=gradient),
        gradients(quantizer, v, s, s / 3, gradient=gradient),
        strict=True,
    ):
        assert torch.equal(mine, plain)


@pytest.mark.parametrize("bits", [1, 9, 0, -2, 2.0, True, "4"])
def test_bits_outside_2_to_8_are_refused(bits):
    with pytest.raises(ValueError, match=r"bits .* is not a whole number from 2 to 8"):
        learned_codes(bits, signed=True)


def test_code_ranges_are_the_papers():
    found = {kind: learned_codes(kind[0], signed=kind[1]) for kind in KINDS}
    assert {kind: (codes.low, codes.high) for kind, codes in found.items()} == {
        (2, True): (-2, 1),
        (2, False): (0, 3),
        (3, True): (-4, 3),
        (3, False): (0, 7),
        (4, True): (-8, 7),
        (4, False): (0, 15),
        (8, True): (-128, 127),
        (8, False): (0, 255),
    }


def test_what_does_not_fit_is_refused():
    codes = learned_codes(2, signed=True)
    v, s = torch.ones(2, 3), torch.tensor(1.0)
    with pytest.raises(ValueError, match="bounds 'mine' is not one of"):
        fake_quantize(v, s, codes=codes, bounds="mine")
    with pytest.raises(ValueError, match="bounds 'mine' is not one of"):
        step_gradient(v, s, codes=codes, bounds="mine")
    with pytest.raises(ValueError, match="floats are needed"):
        fake_quantize(v.int(), s, codes=codes)
    with pytest.raises(ValueError, match=r"shape \(2,\) does not fit PerTensor"):
        fake_quantize(v, torch.ones(2), codes=codes)
    with pytest.raises(ValueError, match=r"shape \(3,\) does not fit PerChannel"):
        fake_quantize(
            v,
            torch.ones(2),
            codes=codes,
            granularity=PerChannel(0),
            offset=torch.ones(3),
        )
    assert lsq.BITS == (2, 8)

"""Errors by step against rounding every value, and a density written out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qstudy.numerics.lsq import fake_quantize, learned_codes
from qstudy.numerics.lsq_steps import SMALLEST_STEP, initial_step
from qstudy.numerics.step_errors import MEASURES, best_steps, step_errors

CASES = st.tuples(st.integers(0, 2**31), st.integers(2, 8), st.booleans())


def drawn(seed, signed, count=300):
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(count, generator=generator, dtype=torch.float64)
    return v if signed else v.relu()


@settings(max_examples=30, deadline=None)
@given(CASES)
def test_means_are_those_of_rounding_every_value(case):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v = drawn(seed, signed)
    steps = torch.tensor([1e-3, 0.01, 0.1, 0.37, 1.0, 8.0], dtype=torch.float64)
    found = step_errors(v, steps, codes=codes)
    assert tuple(found) == MEASURES
    for i, step in enumerate(steps):
        off = fake_quantize(v, step, codes=codes) - v
        assert found["mae"][i].item() == pytest.approx(float(off.abs().mean()))
        assert found["mse"][i].item() == pytest.approx(
            float(off.square().mean()), abs=1e-12
        )


@settings(max_examples=30, deadline=None)
@given(CASES)
def test_the_divergence_is_that_of_a_density_over_cells(case):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v, step = drawn(seed, signed), 0.37
    found = step_errors(v, torch.tensor([step]).double(), codes=codes)["kl"].item()
    counts = torch.round(v / step).clamp(codes.low, codes.high)
    total = 0.0
    for code in counts.unique().tolist():
        low, high = (code - 0.5) * step, (code + 0.5) * step
        low = min(low, float(v.min())) if code == codes.low else low
        high = max(high, float(v.max())) if code == codes.high else high
        share = float((counts == code).double().mean())
        total -= share * math.log(share / (high - low))
    assert found == pytest.approx(total, rel=1e-6)


def test_the_best_share_is_the_cheapest():
    v, codes = drawn(0, True, 4000), learned_codes(3, signed=True)
    shares = torch.linspace(0.01, 20, 2000, dtype=torch.float64)
    best = best_steps(v, 0.2, codes=codes, shares=shares)
    costs = step_errors(v, shares * 0.2, codes=codes)
    for name, share in best.items():
        at = int((shares - share).abs().argmin())
        assert costs[name][at] == costs[name].min()
    # Gaussian values and 3 bits: the best step is known to be about 0.586 sigma.
    assert best["mse"] * 0.2 == pytest.approx(0.586, rel=0.05)


@settings(max_examples=20, deadline=None)
@given(CASES)
def test_starting_by_squares_errs_least_of_the_shares_tried(case):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v = drawn(seed, signed)
    step = initial_step(v, codes=codes, how="mse")
    most = initial_step(v, codes=codes, how="min_max")
    tried = most * torch.arange(1, 81, dtype=torch.float64) / 80
    errors = step_errors(v, tried.clamp(min=SMALLEST_STEP), codes=codes)["mse"]
    mine = step_errors(v, step[None], codes=codes)["mse"]
    assert mine.item() == pytest.approx(errors.min().item(), abs=1e-12)


def test_what_does_not_fit_is_refused():
    codes = learned_codes(2, signed=True)
    with pytest.raises(ValueError, match="v"):
        step_errors(torch.tensor([1.0, math.nan]), torch.ones(1), codes=codes)
    with pytest.raises(ValueError, match="steps"):
        step_errors(torch.ones(2), torch.zeros(1), codes=codes)

"""Activations beside ties, where only a kernel's very own rule gives its code."""

import numpy as np
import pytest
import torch
from torch import nn

from qstudy.methods.dynamic import kernels

KERNELS = [k for k in kernels.kernels() if k.engine != "torchao"]


def beside_ties(kernel, seed):
    """float32 (6, K): numbers half-way between codes, and their neighbours."""
    rng = np.random.default_rng(seed)
    low, high = -rng.uniform(0.1, 9), rng.uniform(0.1, 9)
    steps = 2**kernel.activation_bits - 1
    step = (np.float32(high) - np.float32(low)) / steps
    zero_point = round(-low / step)
    ties = (np.arange(steps) + 0.5 - zero_point) * step
    ties = ties[(ties > low + step) & (ties < high - step)].astype(np.float32)
    up, down = np.nextafter(ties, np.float32(99)), np.nextafter(ties, np.float32(-99))
    rows = [np.append(v, [low, high]) for v in (ties, up, down)]
    return torch.from_numpy(np.stack([*rows, *rows[::-1]]).astype(np.float32))


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_ties_fall_as_in_the_kernel(kernel):
    for seed in range(20):
        x = beside_ties(kernel, seed)
        torch.manual_seed(seed)
        outcome = kernels.compare(kernel, nn.Linear(x.shape[1], 8), [x])
        assert outcome.count == 48 and outcome.differing == 0, seed

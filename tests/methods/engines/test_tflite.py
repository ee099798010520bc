"""TensorFlow Lite's reference kernels against integers alone, bit for bit."""

import pytest
import torch

from qstudy.methods import engines
from qstudy.methods.engines import operators, tflite
from qstudy.numerics.elementwise import Affine
from qstudy.numerics.fixedpoint import ROUNDING_MODES, multiply, quantize_multiplier

HERE = pytest.mark.skipif(
    not tflite.available(),
    reason="ai-edge-litert is not installed",
)


@HERE
@pytest.mark.parametrize("inputs", operators.INPUTS)
@pytest.mark.parametrize("operator", operators.OPERATORS)
def test_every_operator_agrees_in_every_code(operator, inputs):
    for seed in range(4):
        case = operators.make_case(operator, inputs, seed=seed)
        theirs = engines.run(case, engine="tflite")
        assert torch.equal(operators.answer(case, engine="tflite"), theirs)


@HERE
def test_the_fully_connected_kernel_rounds_once_and_away_from_zero():
    """All sums of one byte, scales 2^-4, 2^-5 and 2^-6: 16 differ from "single"."""
    x = torch.arange(256, dtype=torch.uint8)[:, None]
    end = Affine(2.0**-6, 128)
    case = operators.Case(
        "linear",
        x,
        Affine(2.0**-4, 128),
        end,
        weight=torch.ones(1, 1, dtype=torch.int8),
        weight_scale=torch.tensor([2.0**-5]),
        bias=torch.zeros(1),
    )
    theirs = tflite.run(case)[:, 0] - 128
    sums = x[:, 0].to(torch.int64) - 128
    m = quantize_multiplier(2.0**-3)
    differing = {
        rounding: int(
            (multiply(sums, m.mantissa, m.shift, rounding=rounding) != theirs).sum()
        )
        for rounding in ROUNDING_MODES
    }
    assert differing["single_away"] == 0
    assert differing["single"] == 16 and differing["double"] > 0
    assert theirs[sums == -4].item() == -1 and theirs[sums == 3].item() == 0


@pytest.mark.skipif(tflite.available(), reason="the package is installed")
def test_without_the_package_the_way_out_is_named():
    case = operators.make_case("linear", "random", seed=0)
    with pytest.raises(ValueError, match="pip install ai-edge-litert"):
        engines.run(case, engine="tflite")

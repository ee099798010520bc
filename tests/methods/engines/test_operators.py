"""Single operators: this study's arithmetic and the engines', element by element."""

import dataclasses
import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from qstudy.methods import engines
from qstudy.methods.engines import operators
from qstudy.methods.engines.rules import ENGINE_RULES
from tests.methods.integer.test_integer_network import sums_in_16_bits

WEIGHTED = [o for o in operators.OPERATORS if o.startswith(("linear", "conv2d"))]
ADDITIONS = ["add", "add_relu"]
SEEDS = range(2)


def cases(operator, **options):
    for inputs in operators.INPUTS:
        for seed in SEEDS:
            yield operators.make_case(operator, inputs, seed=seed, **options)


def off(case, engine):
    ours = operators.answer(case, engine=engine)
    theirs = engines.run(case, engine=engine)
    assert ours.dtype == theirs.dtype == torch.int32
    assert ours.shape == theirs.shape
    return (ours - theirs).abs()


def clipped(case):
    codes = operators.answer(case, engine="fbgemm")
    return ((codes == 0) | (codes == 255)).float().mean().item()


@pytest.mark.parametrize("operator", operators.OPERATORS)
@pytest.mark.parametrize("engine", ENGINE_RULES)
def test_our_answer_is_the_engine_s(engine, operator):
    if engine not in engines.available():
        pytest.skip(f"{engine} is not here")
    # FBGEMM's depthwise kernel adds pairs of products in 16 bits on every machine.
    narrow = (engine, operator) == ("fbgemm", "conv2d_depthwise")
    narrow |= operator in WEIGHTED and sums_in_16_bits(engine)
    for case in cases(operator, activation_bits=7 if narrow else 8):
        assert int(off(case, engine).max()) == 0, case.input


@pytest.mark.skipif("qnnpack" not in engines.available(), reason="qnnpack is not here")
def test_near_ties_of_qnnpack_s_addition_go_the_same_way():
    for seed in range(150):
        case = operators.make_case("add", "random", seed=seed)
        assert int(off(case, "qnnpack").max()) == 0, seed


@pytest.mark.parametrize("operator", [o for o in operators.OPERATORS if "_relu" in o])
def test_a_fused_relu_has_a_code_above_that_of_zero(operator):
    for inputs in operators.INPUTS:
        for seed in range(300):
            case = operators.make_case(operator, inputs, seed=seed)
            assert case.output.zero_point < 255, (inputs, seed)


@pytest.mark.skipif("fbgemm" not in engines.available(), reason="fbgemm is not here")
@pytest.mark.parametrize("seed", SEEDS)
def test_fbgemm_s_depthwise_kernel_saturates_at_8_bits_and_not_at_7(seed):
    differing = {}
    for bits in (8, 7):
        case = operators.make_case(
            "conv2d_depthwise", "random", seed=seed, activation_bits=bits
        )
        differing[bits] = off(case, "fbgemm")
    assert (differing[8] > 0).float().mean() > 0.02
    assert differing[8].max() > 1  # no near-tie that went the other way
    assert differing[7].max() == 0


@pytest.mark.parametrize("operator", WEIGHTED)
def test_sums_are_those_of_a_float64_layer(operator):
    for inputs in operators.INPUTS:
        case = operators.make_case(operator, inputs, seed=1)
        x = case.x.double() - case.input.zero_point
        if case.weight.dim() == 2:
            wanted = functional.linear(x, case.weight.double())
        else:
            wanted = functional.conv2d(x, case.weight.double(), **case.options)
        assert torch.equal(operators.sums(case).double(), wanted)


def test_sums_are_exact_on_a_processor_without_vnni():
    program = (
        "import torch; from qstudy.methods.engines import operators\n"
        "case = operators.make_case('linear', 'extreme', seed=0)\n"
        "x = case.x.long() - case.input.zero_point\n"
        "wanted = x @ case.weight.long().t()\n"
        "print(int((operators.sums(case) != wanted).sum()), 'differ')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 differ\n"


def test_a_depthwise_case_has_one_input_channel_a_group():
    case = operators.make_case("conv2d_depthwise", "random", seed=0)
    channels = case.x.shape[1]
    assert case.options["groups"] == channels == len(case.weight)
    assert case.weight.shape[1] == 1
    case = operators.make_case("conv2d_stride", "random", seed=0)
    assert case.weight.shape[1] == case.x.shape[1] // 2


@pytest.mark.parametrize("operator", [*WEIGHTED, *ADDITIONS])
def test_cases_of_ties_hold_ties_and_random_ones_none(operator):
    counts = {"ties": 0, "random": 0}
    total = 0
    for inputs in counts:
        for seed in range(4):
            case = operators.make_case(operator, inputs, seed=seed)
            steps = operators.steps_from_tie(case)
            assert steps.min() >= 0 and steps.max() <= 0.5
            counts[inputs] += int((steps == 0).sum())
            total += steps.numel() if inputs == "ties" else 0
    assert counts["random"] == 0
    assert counts["ties"] > (0.1 if operator in ADDITIONS else 0.001) * total


@pytest.mark.parametrize("operator", [*WEIGHTED, *ADDITIONS])
def test_steps_from_a_tie_are_worked_from_the_real_value(operator):
    case = operators.make_case(operator, "random", seed=3)
    steps = operators.steps_from_tie(case).flatten()
    channels = (1, -1, *[1] * (case.x.dim() - 2))
    if operator in ADDITIONS:
        real = case.input.scale * (case.x.double() - case.input.zero_point)
        side = case.other.double() - case.other_affine.zero_point
        real = real + case.other_affine.scale * side
    else:
        scale = case.weight_scale.double().reshape(channels) * case.input.scale
        real = operators.sums(case) * scale + case.bias.double().reshape(channels)
    wanted = [abs(v % 1 - 0.5) for v in (real / case.output.scale).flatten().tolist()]
    assert steps.tolist() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("operator", ["avg_pool2d", "max_pool2d", "relu", "relu6"])
def test_operators_without_a_second_operand_know_no_ties(operator):
    case = operators.make_case(operator, "ties", seed=0)
    assert operators.steps_from_tie(case) is None
    assert case.output == case.input


@pytest.mark.parametrize("operator", operators.OPERATORS)
def test_extreme_cases_hold_the_ends_alone(operator):
    for bits in (7, 8):
        most = 2**bits - 1
        zeros = set()
        for seed in range(8):
            case = operators.make_case(
                operator, "extreme", seed=seed, activation_bits=bits
            )
            assert case.x.unique().tolist() == [0, most]
            zeros.add(case.input.zero_point)
            corner = 254 if operator.endswith("_relu") else 255
            if case.output is not case.input:
                assert case.output.zero_point in (0, corner)
            if case.other is not None:
                assert case.other.unique().tolist() == [0, most]
                assert case.other_affine.zero_point in (0, 255)
        assert zeros == {0, most}


@pytest.mark.parametrize("operator", [*WEIGHTED, *ADDITIONS])
def test_saturating_cases_clip_more_than_random_ones(operator):
    shares = {
        inputs: [
            clipped(operators.make_case(operator, inputs, seed=seed))
            for seed in range(4)
        ]
        for inputs in ("saturating", "random")
    }
    # With a fused ReLU the code of zero is a clipping end too, and lies anywhere.
    plain = not operator.endswith("_relu")
    assert sum(shares["saturating"]) / 4 > (0.6 if plain else 0.03)
    assert sum(shares["saturating"]) > sum(shares["random"]) + (0.8 if plain else 0.0)


@pytest.mark.parametrize("operator", operators.OPERATORS)
def test_a_case_is_a_function_of_its_seed(operator):
    def told(seed, inputs="random"):
        case = operators.make_case(operator, inputs, seed=seed)
        parts = [getattr(case, field.name) for field in dataclasses.fields(case)]
        return [p.tolist() if isinstance(p, torch.Tensor) else p for p in parts]

    for inputs in operators.INPUTS:
        assert told(4, inputs) == told(4, inputs)
    assert told(4) != told(5)
    assert told(4) != told(4, "ties")


def test_seven_bits_draw_codes_and_zero_points_below_128():
    for operator in operators.OPERATORS:
        for case in cases(operator, activation_bits=7):
            assert case.x.max() <= 127 and case.input.zero_point <= 127
    assert any(c.x.max() > 127 for c in cases("linear"))


def test_an_unknown_operator_inputs_or_engine_is_named():
    case = operators.make_case("add", "random", seed=0)
    for call, words in (
        (lambda: operators.make_case("div", "ties", seed=0), "operator 'div' is not"),
        (lambda: operators.make_case("add", "odd", seed=0), "inputs 'odd' is not one"),
        (lambda: operators.answer(case, engine="tpu"), "engine 'tpu' is not one of"),
        (lambda: engines.run(case, engine="tpu"), "engine 'tpu' is not one of"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            call()
        assert "\n" not in str(error.value)


def test_asking_an_engine_leaves_torch_s_own_as_it_was():
    before = torch.backends.quantized.engine
    for engine in engines.available():
        engines.run(operators.make_case("relu", "random", seed=0), engine=engine)
        assert torch.backends.quantized.engine == before

"""The fake-quantizer computes what qstudy.numerics and torch's own operators do."""

import dataclasses
import shutil

import pytest
import torch
from functorch.compile import make_boxed_func, min_cut_rematerialization_partition
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch._inductor.decomposition import select_decomp_table

from qstudy.methods.fakequant import (
    BITS,
    RANGES,
    FakeQuantize,
    FakeQuantizeConfig,
)
from qstudy.methods.frozen import inductor_noise
from qstudy.numerics import mapping
from qstudy.numerics.calibration import MovingAverageCalibrator
from qstudy.numerics.fakequant import pact_clip, straight_through
from qstudy.numerics.mapping import code_range
from qstudy.numerics.qparams import choose_qparams
from qstudy.numerics.weights import round_weight

WEIGHT = FakeQuantizeConfig(signed=True, scheme="scale", granularity="per_channel")


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def quantizer(*, low=-1.3, high=2.1, **changes):
    made = FakeQuantize(FakeQuantizeConfig(**changes), name="stem")
    made.set_range(low, high)
    return made


@settings(deadline=None, max_examples=60)
@given(
    bits=st.sampled_from(BITS),
    signed=st.booleans(),
    scheme=st.sampled_from(["affine", "scale"]),
    low=st.floats(-100, 0, width=32),
    high=st.floats(2**-10, 100, width=32),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 99),
)
def test_the_arithmetic_is_that_of_numerics_bit_for_bit(
    bits, signed, scheme, low, high, dtype, seed
):
    signed = signed or scheme == "scale"
    module = quantizer(low=low, high=high, bits=bits, signed=signed, scheme=scheme)
    qparams = choose_qparams(
        *torch.tensor([low, high]),
        codes=code_range(bits, signed=signed),
        scheme=scheme,
        convention="half_range",
        smallest_scale=torch.finfo(torch.float32).eps,
    )
    found = module.qparams()
    assert torch.equal(found.scale, qparams.scale)
    assert torch.equal(found.zero_point, qparams.zero_point)
    assert (found.codes, found.granularity) == (qparams.codes, qparams.granularity)
    x = (randn(4, 50, seed=seed) * max(-low, high)).to(dtype)
    assert torch.equal(module(x), mapping.fake_quantize(x, qparams, invert=True))
    assert module(x).dtype == dtype


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_weights_are_rounded_as_by_the_weight_study(granularity):
    weight = randn(6, 4, 3, 3)
    weight[2] = 0  # a dead channel keeps a scale to divide by
    config = dataclasses.replace(
        WEIGHT, granularity=granularity, ranges="moving_average", averaging_constant=1.0
    )
    channels = 6 if granularity == "per_channel" else None
    module = FakeQuantize(config, channels=channels)
    rounded = module(weight)
    assert torch.equal(rounded, round_weight(weight, granularity=granularity))
    assert not rounded[2].any()
    assert bool((module.qparams().scale > 0).all())


def off_ties(x, qparams):
    """x moved to where a rounding of the last bit decides nothing."""
    scale = qparams.granularity.expand(qparams.scale, x)
    steps = x / scale
    near = (steps - torch.floor(steps) - 0.5).abs() < 1e-3
    return torch.where(near, x + 0.1 * scale, x)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("signed", [True, False])
def test_values_and_gradients_are_torch_s_per_tensor(bits, signed):
    module = quantizer(bits=bits, signed=signed)
    q = module.qparams()
    xs = [
        off_ties(randn(64, 40) * 2, q).requires_grad_()
        for _ in range(2)
    ]  # fmt: skip
    wanted = torch.fake_quantize_per_tensor_affine(
        xs[0], q.scale, q.zero_point, q.codes.low, q.codes.high
    )
    found = module(xs[1])
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    upstream = randn(64, 40, seed=1)
    wanted.backward(upstream)
    found.backward(upstream)
    assert torch.equal(xs[0].grad, xs[1].grad)
    assert 0 < (xs[0].grad == 0).float().mean() < 1  # some were clipped


@pytest.mark.parametrize("bits", BITS)
def test_values_and_gradients_are_torch_s_per_channel(bits):
    module = FakeQuantize(dataclasses.replace(WEIGHT, bits=bits), channels=5)
    weight = randn(5, 8, 3, 3)
    module.set_range(weight.flatten(1).amin(1) * 0.6, weight.flatten(1).amax(1) * 0.6)
    q = module.qparams()
    xs = [off_ties(weight, q).requires_grad_() for _ in range(2)]
    wanted = torch.fake_quantize_per_channel_affine(
        xs[0], q.scale, q.zero_point, 0, q.codes.low, q.codes.high
    )
    found = module(xs[1])
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    upstream = randn(5, 8, 3, 3, seed=1)
    wanted.backward(upstream)
    found.backward(upstream)
    assert torch.equal(xs[0].grad, xs[1].grad)
    assert bool((xs[0].grad == 0).any())


def test_the_moving_average_is_the_calibrator_s_and_can_be_frozen():
    module = FakeQuantize(FakeQuantizeConfig(ranges="moving_average"))
    calibrator = MovingAverageCalibrator()
    for seed in range(5):
        batch = randn(3, 4, 5, 5, seed=seed) * (seed + 1)
        module(batch)
        calibrator.update(batch)
    held = torch.stack(module.range())
    torch.testing.assert_close(held, torch.tensor(calibrator.range()))
    module.eval()(randn(50) * 100)  # evaluation moves nothing
    assert torch.equal(torch.stack(module.range()), held)
    module.train().observe(False)
    module(randn(50) * 100)
    assert torch.equal(torch.stack(module.range()), held)
    module.observe(True)
    module(randn(50) * 100)
    assert not torch.equal(torch.stack(module.range()), held)


def test_quantizing_off_lets_values_and_gradients_pass():
    for changes in ({}, {"ranges": "pact"}):
        module = quantizer(low=0.0, high=0.5, **changes)
        module.quantize(False)
        x = randn(100).requires_grad_()
        module(x).sum().backward()
        assert torch.equal(module(x), x)
        assert torch.equal(x.grad, torch.ones(100))


def test_pact_has_the_published_gradients():
    module = quantizer(low=0.0, high=1.0, bits=2, ranges="pact")
    x = torch.tensor([-0.5, 0.2, 0.9, 1.0, 1.7]).requires_grad_()
    y = module(x)
    torch.testing.assert_close(y, torch.tensor([0.0, 1 / 3, 1.0, 1.0, 1.0]))
    y.backward(torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0]))
    # Equation 3: 0 below alpha, 1 from alpha on; x has the gradient where alpha has
    # none, and none below 0.
    assert module.alpha.grad.item() == 11000.0
    assert x.grad.tolist() == [0.0, 10.0, 100.0, 0.0, 0.0]
    # Equation 1, which is written without a comparison.
    v, a = randn(1000) * 2, torch.tensor(1.3)
    formula = 0.5 * (v.abs() - (v - a).abs() + a)
    torch.testing.assert_close(pact_clip(v, a), formula)


def test_pact_s_alpha_never_gives_a_range_of_zero():
    module = quantizer(low=0.0, high=1.0, ranges="pact")
    with torch.no_grad():
        module.alpha.fill_(-0.3)
    x = torch.tensor([0.5, 2.0])
    y = module(x)
    assert bool(torch.isfinite(y).all())
    assert bool(module.qparams().scale > 0)
    (-y.sum()).backward()
    assert module.alpha.grad.item() < 0  # a step of descent brings it back


def test_the_surrogate_adds_nothing_to_the_value():
    value, surrogate = randn(1000), (randn(1000, seed=1) * 1e6).requires_grad_()
    y = straight_through(value, surrogate)
    assert torch.equal(y, value)
    y.sum().backward()
    assert torch.equal(surrogate.grad, torch.ones(1000))


def test_float64_stays_float64():
    module = quantizer().double()
    x = randn(100).double()
    assert module(x).dtype == torch.float64
    torch.testing.assert_close(module(x), quantizer()(x.float()).double())


class Small(nn.Module):
    """Every kind of range, with a batch normalization between."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.weight = FakeQuantize(
            dataclasses.replace(
                WEIGHT, ranges="moving_average", averaging_constant=1.0
            ),
            channels=8,
        )
        self.bn = nn.BatchNorm2d(8)
        self.pact = quantizer(low=0.0, high=2.0, bits=4, ranges="pact")
        self.input = quantizer(low=-2.0, high=2.0)
        self.average = FakeQuantize(FakeQuantizeConfig(ranges="moving_average"))

    def forward(self, x):
        x = self.conv._conv_forward(
            self.input(x), self.weight(self.conv.weight), self.conv.bias
        )
        return self.average(self.pact(torch.relu(self.bn(x))).mean((2, 3)))


def step(model, forward, x):
    with torch.autocast("cpu", torch.bfloat16):
        y = forward(x)
    y.float().square().mean().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    return y.detach(), found


def schedule(model):
    """What a schedule does, one change at a time."""
    quantizers = [m for m in model.modules() if isinstance(m, FakeQuantize)]
    for module in quantizers:
        module.quantize(False)
    yield
    for module in quantizers:
        module.quantize(True)
    yield
    model.average.observe(False)
    yield


def images():
    return randn(4, 3, 9, 9).to(memory_format=torch.channels_last)


def test_a_schedule_breaks_no_graph_and_compiles_nothing_again():
    torch._dynamo.reset()
    torch.manual_seed(0)
    models = [Small().to(memory_format=torch.channels_last) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        step(model, model, images())  # the average starts
    with inductor_noise():
        forward = torch.compile(models[1], backend="aot_eager", fullgraph=True)
        step(models[0], models[0], images())
        step(models[1], forward, images())
        with torch.compiler.set_stance("fail_on_recompile"):
            for _ in zip(*(schedule(model) for model in models), strict=True):
                wanted, gradients = step(models[0], models[0], images())
                found, compiled = step(models[1], forward, images())
                torch.testing.assert_close(found, wanted)
                torch.testing.assert_close(compiled, gradients)
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict())


@pytest.mark.parametrize("ranges", RANGES)
def test_no_mask_is_kept_for_the_backward_pass(ranges):
    """What inductor's partition stores between the passes: floats of bf16 alone."""
    torch._dynamo.reset()
    kept = []

    def forward_compiler(graph, inputs):
        results = next(n for n in graph.graph.nodes if n.op == "output").args[0]
        values = [n.meta["val"] for n in results if n.op == "call_function"]
        kept.extend(v.dtype for v in values if v.numel() > 1000)
        return make_boxed_func(graph.forward)

    backend = aot_autograd(
        fw_compiler=forward_compiler,
        bw_compiler=lambda graph, inputs: make_boxed_func(graph.forward),
        partition_fn=min_cut_rematerialization_partition,
        decompositions=select_decomp_table(),
    )
    module = quantizer(low=0.0, bits=4, ranges=ranges)
    conv = nn.Conv2d(3, 8, 3)

    def network(x):
        return conv(module(torch.relu(conv(x)))[:, :3]).sum()

    with inductor_noise(), torch.autocast("cpu", torch.bfloat16):
        torch.compile(network, backend=backend)(randn(8, 3, 9, 9)).backward()
    assert set(kept) <= {torch.bfloat16}
    assert len(kept) >= 2


@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
def test_the_compiled_quantizer_is_the_eager_one_bit_for_bit():
    torch._dynamo.reset()
    module = quantizer(bits=8)
    with inductor_noise():
        compiled = torch.compile(module, fullgraph=True)
        xs = [(randn(64, 64) * 2).requires_grad_() for _ in range(2)]
        found, wanted = compiled(xs[0]), module(xs[1])
        found.backward(randn(64, 64, seed=1))
        wanted.backward(randn(64, 64, seed=1))
    assert torch.equal(found, wanted)
    assert torch.equal(xs[0].grad, xs[1].grad)


def test_the_state_survives_a_file(tmp_path):
    model = Small()
    model(images())
    model.average.observe(False)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = Small()
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert not bool(other.average.observing)
    assert torch.equal(other.eval()(images()), model.eval()(images()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 1}, r"bits 1 is not one of \(2, 3, 4, 5, 6, 7, 8\)"),
        ({"bits": 9}, "bits 9 is not one of"),
        ({"scheme": "log"}, "scheme 'log' is not one of"),
        ({"granularity": "per_group"}, "granularity 'per_group' is not one of"),
        ({"ranges": "guess"}, "ranges 'guess' is not one of"),
        ({"convention": "m/127"}, "convention 'm/127' is not one of"),
        ({"averaging_constant": 0.0}, "averaging_constant 0.0 is outside 0"),
        ({"scheme": "scale"}, "scheme 'scale' with signed False"),
        ({"ranges": "pact", "signed": True}, "ranges 'pact' with signed True"),
    ],
)
def test_a_configuration_that_is_not_allowed_is_refused(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        FakeQuantizeConfig(**changes)
    assert "\n" not in str(error.value)


def test_channels_must_fit_the_granularity():
    with pytest.raises(ValueError, match="channels None does not fit granularity"):
        FakeQuantize(WEIGHT)
    with pytest.raises(ValueError, match="channels 3 does not fit granularity"):
        FakeQuantize(FakeQuantizeConfig(), channels=3)


nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (nan, 1.0, "fake-quantizer 'stem' is given the range nan to 1.0"),
        (0.0, inf, "fake-quantizer 'stem' is given the range 0.0 to inf"),
        (2.0, 1.0, "fake-quantizer 'stem' is given the range 2.0 to 1.0"),
        (0.0, 0.0, "fake-quantizer 'stem' is given the range 0 to 0: .* all zero"),
        (torch.zeros(3), torch.ones(3), r"shape \(3,\) and \(3,\): \(\) is needed"),
    ],
)
def test_a_range_that_is_none_is_refused_by_name(low, high, message):
    module = quantizer()
    before = module.range()
    with pytest.raises(ValueError, match=message):
        module.set_range(low, high)
    assert before == module.range()


def test_what_has_no_range_says_so_by_name():
    for ranges in ("fixed", "pact"):
        module = FakeQuantize(FakeQuantizeConfig(ranges=ranges), name="fc.input")
        for use in (lambda: module(randn(3)), module.qparams):  # noqa: B023
            with pytest.raises(ValueError, match=r"fake-quantizer 'fc\.input' has no"):
                use()
        with pytest.raises(ValueError, match=f"{ranges} ranges, which observe nothing"):
            module.observe(True)
    module = FakeQuantize(FakeQuantizeConfig(ranges="moving_average"), name="fc.input")
    with pytest.raises(ValueError, match="look for NaN in what it was shown"):
        module(torch.tensor([1.0, nan]))
    with pytest.raises(ValueError, match=r"given the range -inf to 1\.0"):
        module(torch.tensor([1.0, -inf]))
    with pytest.raises(ValueError, match=r"given torch\.int64: floats are needed"):
        quantizer()(torch.arange(3))
    with pytest.raises(ValueError, match="PACT clips what a ReLU gives"):
        quantizer(ranges="pact", low=-1.0)

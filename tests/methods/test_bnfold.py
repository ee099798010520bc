"""The five strategies against plain conv and BN, torch's own module, and NumPy."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from qstudy.methods.bnfold import BN_STRATEGIES, ConvBn2d

BATCH = ("none", "one_pass", "two_pass")  # normalize by the batch's statistics
FOLDED = ("frozen", "one_pass", "two_pass", "fold_first")  # round the folded weight
LOSSLESS = {"rtol": 1e-10, "atol": 1e-10}


class Rounding(nn.Module):
    """Symmetric 4 bits per channel, by the weight's own maximum; straight through."""

    def forward(self, weight):
        scale = weight.detach().abs().amax((1, 2, 3), keepdim=True) / 7
        return weight + ((weight / scale).round() * scale - weight).detach()


def pair(
    *,
    groups=1,
    dilation=1,
    stride=1,
    bias=True,
    affine=True,
    mode="zeros",
    momentum=0.1,
    eps=1e-5,
    seed=0,
):
    """conv and bn in float64, 4 to 8 channels, every vector away from its default."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        conv = nn.Conv2d(4, 8, 3, stride, 1, dilation, groups, bias, padding_mode=mode)
        bn = nn.BatchNorm2d(8, eps=eps, momentum=momentum, affine=affine)
        if affine:
            # Both signs, and nowhere so near 0 that one_pass loses digits.
            sign = torch.tensor([1.0, -1.0]).repeat(4)
            bn.weight.data.uniform_(0.3, 2.0).mul_(sign)
            bn.bias.data.normal_()
        bn.running_mean.normal_(0, 2)
        bn.running_var.copy_(10 ** torch.empty(8).uniform_(-8, 2))
        # One channel hardly varies: eps, not the variance, decides there.
        conv.weight.data[3] *= 1e-4
    return nn.Sequential(conv, bn).double().train()


def ours(plain, strategy, quantizer=None):
    plain = copy.deepcopy(plain)
    return ConvBn2d(
        *plain, strategy=strategy, weight_quantizer=quantizer or nn.Identity()
    )


def inputs(seed, *, size=6, batch=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 4, size, size, generator=generator, dtype=torch.float64)


def step(module, x, direction):
    """Output and the gradients of x, conv and bn for the loss sum(y * direction)."""
    x = x.clone().requires_grad_()
    y = module(x)
    conv, bn = list(module.children())[:2]
    wanted = [x, conv.weight, *([] if bn.weight is None else [bn.weight, bn.bias])]
    if conv.bias is not None:
        wanted.append(conv.bias)
    return y.detach(), torch.autograd.grad((y * direction).sum(), wanted)


def direction_for(y, seed=9):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(y.shape, generator=generator, dtype=y.dtype)


def same(got, wanted, **tolerance):
    torch.testing.assert_close(got, wanted, **(LOSSLESS | tolerance))


def train_together(module, plain, *, steps=10, statistics=True):
    """Ten steps of both, compared in every tensor before each update, and in eval."""
    optimizers = [torch.optim.SGD(m.parameters(), lr=1e-3) for m in (module, plain)]
    for index in range(steps):
        x = inputs(index)
        with torch.no_grad():
            probe = copy.deepcopy(plain)(x)
        direction = direction_for(probe, index) / probe.numel()
        got, wanted = step(module, x, direction), step(plain, x, direction)
        same(got[0], wanted[0])
        for ours_, theirs in zip(got[1], wanted[1], strict=True):
            same(ours_, theirs)
        if statistics:
            for name, buffer in plain[1].named_buffers():
                same(getattr(module.bn, name), buffer)
        for each, gradients, optimizer in zip(
            (module, plain), (got[1], wanted[1]), optimizers, strict=True
        ):
            conv, bn = list(each.children())[:2]
            parameters = [p for p in (conv.weight, bn.weight, bn.bias) if p is not None]
            for parameter, gradient in zip(parameters, gradients[1:], strict=False):
                parameter.grad = gradient
            optimizer.step()
        training = plain[1].training
        with torch.no_grad():
            same(copy.deepcopy(module).eval()(x), copy.deepcopy(plain).eval()(x))
        assert plain[1].training == training


options = st.fixed_dictionaries(
    {
        "groups": st.sampled_from([1, 2, 4]),  # 4: depthwise
        "dilation": st.sampled_from([1, 2]),
        "stride": st.sampled_from([1, 2]),
        "bias": st.booleans(),
        "affine": st.booleans(),
        "mode": st.sampled_from(["zeros", "reflect", "circular"]),
        "momentum": st.sampled_from([0.1, 0.5, None]),
        "eps": st.sampled_from([1e-5, 1e-3]),
        "seed": st.integers(0, 2**31),
    }
)


@pytest.mark.parametrize("strategy", BATCH)
@settings(max_examples=25, deadline=None)
@given(options=options)
def test_without_rounding_training_is_that_of_conv_and_bn(strategy, options):
    plain = pair(**options)
    train_together(ours(plain, strategy), plain)


@settings(max_examples=25, deadline=None)
@given(options=options)
def test_frozen_trains_as_a_normalization_in_eval_mode(options):
    plain = pair(**options)
    module = ours(plain, "frozen")
    before = copy.deepcopy(dict(module.bn.named_buffers()))
    plain[1].eval()
    train_together(module.train(), plain)
    for name, buffer in module.bn.named_buffers():
        assert torch.equal(buffer, before[name])


@pytest.mark.parametrize("strategy", BATCH)
@settings(max_examples=15, deadline=None)
@given(options=options)
def test_frozen_later_they_all_train_as_a_normalization_in_eval_mode(strategy, options):
    plain = pair(**options)
    module = ours(plain, strategy)
    for each in (module, plain):
        each(inputs(50))
    module.freeze()
    plain[1].eval()
    train_together(module, plain, steps=3)


@settings(max_examples=25, deadline=None)
@given(options=options)
def test_folding_first_has_the_gradients_of_the_chain_rule(options):
    plain = pair(**options)
    module = ours(plain, "fold_first")
    assert [name for name, _ in module.named_parameters()] == [
        "conv.weight",
        "conv.bias",
    ]
    plain[1].eval()
    conv, bn = plain
    x = inputs(0)
    y = plain(x)
    direction = direction_for(y)
    wanted_y, (wanted_x, wanted_weight, *wanted_affine) = step(plain, x, direction)
    x.requires_grad_()
    y = module(x)
    d_x, d_weight, d_bias = torch.autograd.grad(
        (y * direction).sum(), [x, module.conv.weight, module.conv.bias]
    )
    same(y.detach(), wanted_y)
    same(d_x, wanted_x)
    inverse = 1 / (bn.running_var + bn.eps).sqrt()
    gamma = bn.weight.detach() if bn.affine else torch.ones(8).double()
    same(d_weight * (gamma * inverse).view(-1, 1, 1, 1), wanted_weight)
    if bn.affine:
        offset = (0 if conv.bias is None else conv.bias.detach()) - bn.running_mean
        d_gamma = (d_weight * conv.weight.detach()).sum((1, 2, 3)) + d_bias * offset
        same(d_gamma * inverse, wanted_affine[0])
        same(d_bias, wanted_affine[1])


def convolve(x, weight, conv):
    """The cross-correlation of conv, in NumPy, groups and dilation spelled out."""
    pad, hole, stride = conv.padding[0], conv.dilation[0], conv.stride[0]
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    reach = hole * 2 + 1
    windows = sliding_window_view(x, (reach, reach), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride, ::hole, ::hole]
    per_in, per_out = weight.shape[1], len(weight) // conv.groups
    parts = []
    for out in range(len(weight)):
        start = out // per_out * per_in
        parts.append(
            np.einsum(
                "nchwij,cij->nhw", windows[:, start : start + per_in], weight[out]
            )
        )
    return np.stack(parts, axis=1)


def two_pass_in_numpy(plain, x, moved=None, rounding=None):
    """Section 3.2.2 with c = sigma_B / sigma written out; `moved` replaces parameters.

    `rounding` fixes Q(W s) - W s, which makes the function smooth: its derivative is
    what straight-through gradients stand for.
    """
    conv, bn = plain
    state = {k: v.detach().numpy() for k, v in plain.state_dict().items()}
    p = {"x": x.numpy(), "w": state["0.weight"], "g": state["1.weight"]}
    p |= {"b": state["1.bias"]} | (moved or {})
    first = convolve(p["x"], p["w"], conv)
    sigma_batch = np.sqrt(first.var(axis=(0, 2, 3)) + bn.eps)
    sigma = np.sqrt(state["1.running_var"] + bn.eps)
    c = sigma_batch / sigma
    corrected = p["w"] * (c * p["g"] / sigma_batch)[:, None, None, None]
    if rounding is None:
        scale = np.abs(corrected).max(axis=(1, 2, 3), keepdims=True) / 7
        rounding = np.round(corrected / scale) * scale - corrected
    y = convolve(p["x"], corrected + rounding, conv) / c[:, None, None]
    shift = p["b"] - p["g"] * first.mean(axis=(0, 2, 3)) / sigma_batch
    return y + shift[:, None, None], rounding, first


@pytest.mark.parametrize(
    "options",
    [
        {"bias": False},
        {"bias": True, "groups": 4, "stride": 2},
        {"bias": True, "groups": 2, "dilation": 2},
    ],
    ids=str,
)
def test_two_pass_with_rounding_is_the_papers_formula(options):
    plain, x = pair(**options), inputs(1)
    module = ours(plain, "two_pass", Rounding())
    wanted, rounding, first = two_pass_in_numpy(plain, x)
    direction = direction_for(torch.from_numpy(wanted))
    y, gradients = step(module, x, direction)
    same(y, torch.from_numpy(wanted))
    unrounded = copy.deepcopy(plain)(x).detach().numpy()
    assert abs(wanted - unrounded).max() > 1e-2  # the rounding shows

    bias = 0 if plain[0].bias is None else plain[0].bias.detach().numpy()[:, None]
    channels = first.transpose(1, 0, 2, 3).reshape(8, -1) + bias
    batch = {"running_mean": channels.mean(1), "running_var": channels.var(1, ddof=1)}
    for name, value in batch.items():
        before = plain[1].get_buffer(name).numpy()
        moved = 0.9 * before + 0.1 * value
        same(module.bn.get_buffer(name), torch.from_numpy(moved))
    assert module.bn.num_batches_tracked == 1

    # Central differences along a random direction, one parameter at a time.
    rng = np.random.default_rng(0)
    values = {"x": x, "w": plain[0].weight, "g": plain[1].weight, "b": plain[1].bias}
    for (key, value), gradient in zip(values.items(), gradients, strict=False):
        value = value.detach().numpy()
        along = rng.standard_normal(value.shape) * np.abs(value)
        ends = [
            (two_pass_in_numpy(plain, x, {key: value + h * along}, rounding)[0])
            for h in (1e-6, -1e-6)
        ]
        numeric = ((ends[0] - ends[1]) * direction.numpy()).sum() / 2e-6
        analytic = (gradient.numpy() * along).sum()
        assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-6), key


@pytest.fixture
def torch_module():
    """Builds torch.ao's QAT module from a pair; skipped where torch has none."""
    qat = pytest.importorskip("torch.ao.nn.intrinsic.qat", exc_type=ImportError)
    api = pytest.importorskip("torch.ao.quantization", exc_type=ImportError)

    def build(plain):
        conv, bn = copy.deepcopy(plain)
        module = qat.ConvBn2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
            conv.bias is not None,
            eps=bn.eps,
            momentum=bn.momentum,
            qconfig=api.QConfig(activation=nn.Identity, weight=Rounding),
        )
        module.weight, module.bias, module.bn = conv.weight, conv.bias, bn
        return module.train()

    return build


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_one_pass_with_rounding_is_torch_s_module(torch_module, bias, groups):
    plain = pair(bias=bias, groups=groups, stride=2)
    module, theirs = ours(plain, "one_pass", Rounding()), torch_module(plain)
    unrounded = copy.deepcopy(plain)
    for index in range(10):
        if index == 7:
            module.freeze()
            theirs.freeze_bn_stats()
        x = inputs(index)
        y = unrounded(x).detach()
        direction = direction_for(y, index)
        results = []
        for conv, bn, forward in (
            (module.conv, module.bn, module),
            (theirs, theirs.bn, theirs),
        ):
            x = x.detach().requires_grad_()
            out = forward(x)
            wanted = [x, conv.weight, bn.weight, bn.bias]
            wanted += [conv.bias] if bias else []
            results.append([out, *torch.autograd.grad((out * direction).sum(), wanted)])
            with torch.no_grad():
                for parameter, gradient in zip(
                    wanted[1:4], results[-1][2:], strict=False
                ):
                    parameter.sub_(1e-4 * gradient)
        for got, wanted in zip(*results, strict=True):
            same(got, wanted)
        for name, buffer in theirs.bn.named_buffers():
            same(getattr(module.bn, name), buffer)
        assert (results[0][0] - y).abs().max() > 1e-2  # the rounding shows
        with torch.no_grad():
            x = inputs(99)
            same(
                copy.deepcopy(module).eval()(x),
                copy.deepcopy(theirs).eval()(x),
            )


def test_the_two_differ_only_by_whose_statistics_they_take():
    plain, x = pair(bias=True), inputs(4)
    one, two = (ours(plain, s, Rounding()) for s in ("one_pass", "two_pass"))
    assert (one(x) - two(x)).abs().max() > 1e-2
    assert (one.bn.running_mean - two.bn.running_mean).abs().max() > 1e-5
    unrounded = copy.deepcopy(plain)
    unrounded(x)
    same(two.bn.running_mean, unrounded[1].running_mean)
    same(two.bn.running_var, unrounded[1].running_var)


class Recording(Rounding):
    """Keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, weight):
        self.seen.append(weight.detach().clone())
        return super().forward(weight)


@pytest.mark.parametrize("strategy", BN_STRATEGIES)
def test_the_rounded_weight_does_not_move_with_the_batch(strategy):
    module = ours(pair(), strategy, recording := Recording())
    if module.bn is not None:
        module.bn.momentum = 0.0  # the running statistics stay, the batch's do not
    for index in range(3):
        module(inputs(index) * 10**index)
    assert len(recording.seen) == 3  # once a step
    assert all(torch.equal(w, recording.seen[0]) for w in recording.seen)


@pytest.mark.parametrize("quantizer", [nn.Identity(), Rounding()], ids=["none", "int4"])
@pytest.mark.parametrize("strategy", BN_STRATEGIES)
def test_freezing_makes_train_mode_what_eval_mode_is(strategy, quantizer):
    module = ours(pair(), strategy, quantizer)
    module(inputs(0))
    moved = not torch.equal(module(inputs(1)), module.eval()(inputs(1)))
    assert moved == (strategy in BATCH)
    assert module.freeze() is module
    state = copy.deepcopy(module.state_dict())
    for mode in (True, False, True):
        module.train(mode)
        assert module.training == mode
        assert torch.equal(module(inputs(1)), module.eval()(inputs(1)))
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, state[name])


@pytest.mark.parametrize("strategy", BN_STRATEGIES)
@settings(max_examples=15, deadline=None)
@given(options=options)
def test_folded_is_what_eval_mode_computes(strategy, options):
    module = ours(pair(**options), strategy, Rounding())
    module(inputs(0))
    module.eval()
    weight, bias = module.folded(quantized=True)
    assert not weight.requires_grad and not bias.requires_grad
    x = inputs(1)
    wanted = module(x)
    got = module.conv._conv_forward(x, weight, bias)
    if strategy == "none":  # (x * Q(W)) s there, x * (Q(W) s) here
        same(got, wanted)
    else:
        assert torch.equal(got, wanted)
        raw, again = module.folded()
        assert torch.equal(again, bias)
        assert torch.equal(Rounding()(raw), weight)
    for parameter in module.parameters():
        parameter.data.zero_()
    assert weight.abs().max() > 0  # no view of a parameter


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_unfolded_rounding_keeps_its_codes_when_it_is_folded(sign):
    plain = pair()
    plain[1].weight.data.abs_().mul_(sign)
    module = ours(plain, "none", Rounding()).eval()
    weight, _ = module.folded()
    same(Rounding()(weight), weight)
    codes = [
        (w / w.abs().amax((1, 2, 3), keepdim=True) * 7).round()
        for w in (weight, Rounding()(module.conv.weight).detach())
    ]
    assert torch.equal(codes[0], sign * codes[1])


@pytest.mark.parametrize("strategy", BN_STRATEGIES)
def test_bf16_reaches_the_convolution_and_nothing_else(strategy):
    module = ours(pair(groups=2).float(), strategy, recording := Recording())
    module.to(memory_format=torch.channels_last)
    reference = ours(pair(groups=2), strategy, Rounding())
    x = inputs(0, size=8, batch=4).float().to(memory_format=torch.channels_last)
    x.requires_grad_()
    for frozen in (False, True):
        with torch.autocast("cpu", torch.bfloat16):
            y = module(x)
        assert y.dtype == torch.bfloat16
        assert y.is_contiguous(memory_format=torch.channels_last)
        y.float().square().mean().backward()
        assert recording.seen[-1].dtype == torch.float32
        wanted = reference(x.detach().double())
        error = (y - wanted).abs().mean() / wanted.abs().mean()
        assert error < 0.02  # bf16 keeps 8 bits: about 0.004 an operation
        with torch.no_grad():
            in_float = copy.deepcopy(module).eval()(x)
        assert in_float.dtype == torch.float32
        if not frozen:
            module.freeze()
            reference.freeze()
    for name, parameter in module.named_parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32, name
        assert parameter.grad.isfinite().all()
    if strategy != "fold_first":
        for name, buffer in reference.bn.named_buffers():
            torch.testing.assert_close(
                getattr(module.bn, name).to(buffer.dtype), buffer, rtol=0.02, atol=0.02
            )


@pytest.mark.parametrize("bf16", [False, True], ids=["float64", "bf16"])
@pytest.mark.parametrize("strategy", BN_STRATEGIES)
def test_it_compiles_whole_and_freezing_compiles_once_more(strategy, bf16):
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    plain = pair(groups=2).float() if bf16 else pair(groups=2)
    module, eager = (ours(plain, strategy, Rounding()) for _ in range(2))
    compiled = torch.compile(module, backend=counter, fullgraph=True)
    x = inputs(0, size=8, batch=4).to(memory_format=torch.channels_last)
    x = x.float() if bf16 else x
    for index in range(4):
        if index == 2:
            module.freeze()
            eager.freeze()
        results = []
        for forward, owner in ((compiled, module), (eager, eager)):
            owner.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                y = forward(x)
            y.double().square().mean().backward()
            gradients = [p.grad for p in owner.parameters() if p.grad is not None]
            results.append([y.detach(), *gradients, *owner.buffers()])
        assert len(results[0]) == len(results[1])
        # In bf16 a compiled graph rounds elsewhere; gradients of its sums cancel.
        for got, wanted in list(zip(*results, strict=True))[: 1 if bf16 else None]:
            same(got, wanted, **({"rtol": 0.05, "atol": 0.05} if bf16 else {}))
    assert counter.frame_count == (2 if strategy in BATCH else 1)
    torch._dynamo.reset()


def test_a_network_s_convolution_and_bn_stay_what_they_were():
    plain = pair()
    state = copy.deepcopy(plain.state_dict())
    folded = ConvBn2d(*plain, strategy="fold_first", weight_quantizer=nn.Identity())
    with torch.no_grad():
        folded.conv.weight.zero_()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, state[name])
    kept = ConvBn2d(*plain, strategy="two_pass", weight_quantizer=nn.Identity())
    assert (kept.conv, kept.bn) == (plain[0], plain[1])


def test_a_network_in_eval_mode_stays_in_it():
    for strategy, mode in product(BN_STRATEGIES, (True, False)):
        plain = pair().train(mode)
        module = ConvBn2d(*plain, strategy=strategy, weight_quantizer=nn.Identity())
        assert module.training == mode


def test_two_pass_has_an_answer_where_gamma_is_zero():
    plain = pair()
    plain[1].weight.data[2] = 0.0
    train_together(ours(plain, "two_pass"), plain, steps=2)


def _set(name, index, value):
    def change(conv, bn):
        {"conv": conv, "bn": bn}[name.split(".")[0]].get_parameter(
            name.split(".")[1]
        ).data[index] = value

    return change


def _buffer(name, value):
    return lambda conv, bn: bn.get_buffer(name).fill_(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("conv.weight", 0, torch.nan), "conv.weight holds values that are not"),
        (_set("conv.bias", 0, torch.inf), "conv.bias holds values that are not"),
        (_set("bn.weight", 1, torch.nan), "bn.weight holds values that are not"),
        (_buffer("running_mean", torch.nan), "bn.running_mean holds values that"),
        (_buffer("running_var", -1.0), r"bn.running_var \+ eps is -0.99"),
        (lambda conv, bn: conv.bfloat16(), "conv.weight is torch.bfloat16, not"),
        (_set("bn.weight", 1, 0.0), "one_pass divides by it: use two_pass"),
    ],
)
def test_values_that_have_no_answer_are_refused(change, message):
    plain = pair()
    change(*plain)
    with pytest.raises(ValueError, match=message) as error:
        ours(plain, "one_pass")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("conv", "bn", "strategy", "message"),
    [
        (
            nn.Conv2d(4, 8, 1),
            nn.BatchNorm2d(8),
            "fold",
            r"'fold' is not one of \('none",
        ),
        (nn.Conv2d(4, 8, 1), nn.BatchNorm2d(4), "none", "bn of 4 channels follows a"),
        (nn.Linear(4, 8), nn.BatchNorm2d(8), "none", "Linear is not an nn.Conv2d"),
        (nn.Conv2d(4, 8, 1), nn.BatchNorm1d(8), "none", "BatchNorm1d is not an nn.Bat"),
        (
            nn.Conv2d(4, 8, 1),
            nn.BatchNorm2d(8, track_running_stats=False),
            "two_pass",
            "no running statistics.*build it with track_running_stats=True",
        ),
    ],
)
def test_modules_that_do_not_fit_are_refused(conv, bn, strategy, message):
    with pytest.raises(ValueError, match=message) as error:
        ConvBn2d(conv, bn, strategy=strategy, weight_quantizer=nn.Identity())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("strategy", BATCH)
def test_a_batch_without_variance_is_refused(strategy):
    plain = nn.Sequential(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8)).double()
    module = ours(plain, strategy)
    one = torch.ones(1, 4, 1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"1 value a channel|more than 1 value"):
        module(one)
    assert module.freeze()(one).shape == (1, 8, 1, 1)

"""Folding changes no output, whatever the convolution and the statistics."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune

from qstudy.methods import fusion
from qstudy.models import zoo
from tests.methods.networks import stir


class Layer(nn.Sequential):
    """conv, bn, relu as drawn."""

    def __init__(self, *, groups, dilation, bias, affine, stride, mode, seed, eps):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            conv = nn.Conv2d(
                6, 12, 3, stride, 1, dilation, groups, bias, padding_mode=mode
            )
            super().__init__(
                conv, nn.BatchNorm2d(12, eps=eps, affine=affine), nn.ReLU()
            )
            for vector in self[1].parameters():
                nn.init.normal_(vector)  # gammas of both signs
            self[1].running_mean.normal_(0, 10)
            # From variances far below eps, where gamma is multiplied most, to large.
            self[1].running_var.copy_(10 ** torch.empty(12).uniform_(-12, 4))
        self.double().eval()


layers = st.builds(
    Layer,
    groups=st.sampled_from([1, 2, 6]),  # 6: depthwise
    dilation=st.sampled_from([1, 2]),
    bias=st.booleans(),
    affine=st.booleans(),
    stride=st.sampled_from([1, 2]),
    mode=st.sampled_from(["zeros", "reflect"]),
    seed=st.integers(0, 2**31),
    eps=st.sampled_from([1e-5, 1e-3]),
)


def output(model, x):
    with torch.inference_mode():
        return model(x)


def relative(got, wanted):
    return ((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-300)).item()


@settings(max_examples=60)
@given(layer=layers)
def test_folding_is_exact_in_float64(layer):
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    fused = fusion.fuse(layer)
    assert isinstance(fused[1], nn.Identity)
    wanted = output(layer, x)
    assert relative(output(fused, x), wanted) <= 1e-10
    assert relative(output(fusion.fuse_torch(layer), x), wanted) <= 1e-10


@settings(max_examples=60)
@given(layer=layers)
def test_weights_agree_with_torch_s_own_folding(layer):
    ours = fusion.fuse(layer)[0]
    theirs = nn.utils.fuse_conv_bn_eval(layer[0], layer[1])
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-13, atol=0)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-12, atol=1e-12)


def test_fold_bn_gives_the_figures_worked_by_hand():
    # s = 3 / sqrt(3.9 + 0.1) = 1.5; W' = 2 s; b' = (1 - 5) s + 7
    weight, bias = fusion.fold_bn(
        torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64),
        torch.tensor([1.0], dtype=torch.float64),
        mean=torch.tensor([5.0], dtype=torch.float64),
        var=torch.tensor([3.9], dtype=torch.float64),
        gamma=torch.tensor([3.0], dtype=torch.float64),
        beta=torch.tensor([7.0], dtype=torch.float64),
        eps=0.1,
    )
    assert weight.item() == pytest.approx(3.0, rel=1e-15)
    assert bias.item() == pytest.approx(1.0, rel=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_dtypes_are_rounded_once(dtype):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, generator=generator).to(dtype)
    stats = {
        name: torch.rand(4, generator=generator).to(dtype)
        for name in ("mean", "var", "gamma", "beta")
    }
    got = fusion.fold_bn(weight, None, **stats, eps=1e-5)
    wide = {name: vector.double() for name, vector in stats.items()}
    exact = fusion.fold_bn(weight.double(), None, **wide, eps=1e-5)
    for ours, wanted in zip(got, exact, strict=True):
        assert ours.dtype == dtype
        # Half a unit in the last place, and what float32 arithmetic adds.
        bound = torch.finfo(dtype).eps / 2 + 4 * torch.finfo(torch.float32).eps
        error = (ours.double() - wanted).abs() / wanted.abs().clamp(min=1e-2)
        assert error.max().item() <= bound


def _stats(**changes):
    ones = {name: torch.ones(4) for name in ("mean", "var", "gamma", "beta")}
    return (
        {"weight": torch.ones(4, 3, 1, 1), "bias": None, "eps": 1e-5} | ones | changes
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": torch.ones(4, 3, 1, 1, dtype=torch.int8)}, "torch.int8 is not"),
        ({"mean": torch.ones(1)}, r"mean of shape \(1,\) is not \(4,\)"),
        ({"bias": torch.ones(3)}, r"bias of shape \(3,\) is not \(4,\)"),
        ({"var": torch.tensor([1.0, -1.0, 1.0, 1.0])}, "var is -1.0 somewhere"),
        ({"var": torch.full((4,), -0.25), "eps": 0.5}, "var is -0.25 somewhere"),
        ({"var": torch.tensor([1.0, torch.nan, 1.0, 1.0])}, "var holds NaN"),
        ({"weight": torch.full((4, 3, 1, 1), torch.nan)}, "weight holds NaN"),
        ({"beta": torch.full((4,), torch.inf)}, "beta holds NaN or infinity"),
        (
            {"weight": torch.full((4, 3, 1, 1), 6e4).half(), "var": torch.zeros(4)},
            r"beyond torch.float16: fold in a wider dtype",
        ),
        ({"var": torch.zeros(4), "eps": 0.0}, "must be positive"),
    ],
)
def test_fold_bn_refuses_what_has_no_answer(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        fusion.fold_bn(**_stats(**changes))
    assert "\n" not in str(error.value)


COUNTS = {  # name: (pairs, pairs with a relu of their own)
    "resnet8": (9, 4),
    "resnet20": (21, 10),
    "resnet18": (20, 1),  # blocks call one ReLU twice: only the stem has its own
    "mobilenet_v2": (52, 35),  # 17 projections without, ReLU6 after the others
}


@pytest.mark.parametrize("name", COUNTS)
def test_networks_fold_whole_and_keep_their_logits(name):
    model = stir(zoo.build(name, classes=10)).double()
    size = min(zoo.input_shape(name)[1], 64)
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    pairs = fusion.find_pairs(model)
    with_relu = [pair for pair in pairs if pair.relu]
    assert (len(pairs), len(with_relu)) == COUNTS[name]
    state = copy.deepcopy(model.state_dict())
    wanted = output(model, x)
    for fuse in (fusion.fuse, fusion.fuse_torch):
        fused = fuse(model)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
        assert relative(output(fused, x), wanted) <= 1e-10
    # And the network itself is left as it was.
    assert all(torch.equal(t, state[k]) for k, t in model.state_dict().items())


def test_float32_logits_move_by_rounding_only(resnet8, images):
    wanted = output(resnet8, images)
    for fuse in (fusion.fuse, fusion.fuse_torch):
        assert relative(output(fuse(resnet8), images), wanted) <= 2e-5


def test_a_copy_of_a_training_network_is_in_eval_mode():
    model = zoo.build("resnet8").train()
    for fuse in (fusion.fuse, fusion.fuse_torch):
        assert not any(module.training for module in fuse(model).modules())
    assert model.training


class Awkward(nn.Module):
    """Everything that must not be folded, and one pair that must."""

    def __init__(self):
        super().__init__()
        for name in ("good", "used", "shared", "unkept", "first"):
            setattr(self, name, nn.Conv2d(4, 4, 1))
            setattr(self, f"bn_{name}", nn.BatchNorm2d(4))
        self.bn_unkept = nn.BatchNorm2d(4, track_running_stats=False)
        self.relu = nn.ReLU()

    def forward(self, x):
        y = self.used(x)
        y = self.bn_used(y) + y  # the convolution's output is needed as it is
        y = self.bn_shared(self.shared(self.shared(y)))
        y = self.bn_unkept(self.unkept(y))
        y = self.first(self.bn_first(y))  # the other order
        return self.relu(self.relu(self.bn_good(self.good(y))))


def test_only_what_folds_is_folded():
    model = stir(Awkward()).double()
    assert fusion.find_pairs(model) == [fusion.Pair("good", "bn_good", None)]
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    assert relative(output(fusion.fuse(model), x), output(model, x)) <= 1e-10


def test_nothing_to_fold_is_no_error():
    model = nn.Sequential(nn.Linear(2, 2))
    assert fusion.find_pairs(model) == []
    assert fusion.operations(fusion.fuse_torch(model)) == {"Linear": 1}


def test_operations_lose_the_normalizations_and_nothing_else(resnet8):
    before = fusion.operations(resnet8)
    assert before == {
        "BatchNorm2d": 9,
        "Conv2d": 9,
        "ReLU": 7,
        "Add": 3,
        "AdaptiveAvgPool2d": 1,
        "Flatten": 1,
        "Linear": 1,
    }
    del before["BatchNorm2d"]
    assert fusion.operations(fusion.fuse(resnet8)) == before
    assert fusion.operations(fusion.fuse_torch(resnet8)) == before


def test_a_module_called_twice_counts_twice():
    relu = nn.ReLU()
    assert fusion.operations(nn.Sequential(relu, nn.Identity(), relu)) == {"ReLU": 2}


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Shifted(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x) + 8


class Reads(nn.Module):
    """A convolution whose weight the network also reads itself."""

    def __init__(self, *, reads):
        super().__init__()
        self.conv, self.bn, self.reads = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), reads

    def forward(self, x):
        y = self.bn(self.conv(x))
        owner, name = self.reads.split(".")
        return y * getattr(getattr(self, owner), name).mean()


class TwiceByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.bn(self.conv(self.conv.forward(x)))


def three():
    return nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())


def prepared():
    model = three()
    model[0].register_forward_pre_hook(lambda module, inputs: (3 * inputs[0],))
    return model


def hooked(where):
    model = three()
    model[where].register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


def overridden(where):
    model = three()
    former = model[where].forward
    model[where].forward = lambda x: 2 * former(x)
    return model


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(Doubled(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 4, 1), Shifted(4), nn.ReLU()),
        *(Reads(reads=name) for name in ("conv.weight", "bn.bias")),
        TwiceByHand(),
        prepared(),
        *(hooked(where) for where in (0, 1)),
        *(overridden(where) for where in (0, 1)),
    ],
    ids=lambda m: type(m).__name__,
)
def test_what_is_more_than_its_class_is_left_as_it_is(model):
    model = stir(model).double()
    assert fusion.find_pairs(model) == []
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    wanted = output(model, x)
    for fuse in (fusion.fuse, fusion.fuse_torch):
        assert torch.equal(output(fuse(model), x), wanted)


def test_a_relu_with_a_hook_stays_outside_and_keeps_it():
    model = stir(hooked(2)).double()
    assert fusion.find_pairs(model) == [fusion.Pair("0", "1", None)]
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    for fuse in (fusion.fuse, fusion.fuse_torch):
        assert relative(output(fuse(model), x), output(model, x)) <= 1e-10


def test_a_weight_that_two_convolutions_share_is_folded_in_one_alone():
    model = stir(
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    )
    model[2].weight = model[0].weight
    model.double()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    for fuse in (fusion.fuse, fusion.fuse_torch):
        assert relative(output(fuse(model), x), output(model, x)) <= 1e-10


class Eval(nn.Module):
    """A branch that only training takes."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.bn(y) + y if self.training else self.bn(y)


def test_the_graph_folded_is_that_of_eval_mode():
    fused = fusion.fuse(Eval().train())
    assert isinstance(fused.bn, nn.Identity)


def pruned(model):
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def pruned_without_gradient(model):
    with torch.no_grad():
        return pruned(model)


def parametrized(model):
    parametrizations.weight_norm(model[0])
    return model


def filled(where, name, value):
    def change(model):
        getattr(model[where], name).data.fill_(value)
        return model

    return change


@pytest.mark.parametrize("fuse", [fusion.fuse, fusion.fuse_torch])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pruned, r"Conv2d '0' has a weight that a hook computes: .*prune.remove"),
        (pruned_without_gradient, "Conv2d '0' has a weight that a hook computes"),
        (parametrized, r"'0' is parametrized: .*remove_parametrizations"),
        (filled(0, "weight", torch.nan), "'0' with '1': weight holds NaN or infinity"),
        (filled(1, "running_var", -1.0), "'0' with '1': var is -1.0 somewhere"),
        (filled(1, "weight", torch.inf), "'0' with '1': gamma holds NaN or infinity"),
    ],
)
def test_layers_that_have_no_folding_are_named(fuse, change, said):
    with pytest.raises(ValueError, match=said) as error:
        fuse(change(three()))
    assert "\n" not in str(error.value)


def test_a_pruned_layer_folds_once_its_weight_is_permanent():
    model = stir(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))).double()
    pruned(model)
    prune.remove(model[0], "weight")
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    assert relative(output(fusion.fuse(model), x), output(model, x)) <= 1e-10

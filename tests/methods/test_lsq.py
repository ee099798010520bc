"""LSQ on networks: where quantizers stand, how steps start, and the training."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from qstudy.methods import lsq, qat
from qstudy.methods.agreement import agreement
from qstudy.methods.convert import convert
from qstudy.methods.learned import LearnedQuantize
from qstudy.methods.simulate import LsqConfig, SimulateConfig, quantizers, simulate
from qstudy.models import zoo
from qstudy.numerics.lsq_steps import initial_step
from qstudy.numerics.mapping import CodeRange
from qstudy.training.recipe import Recipe
from tests.methods.networks import stir

IMAGES = np.random.default_rng(0).integers(0, 256, (48, 32, 32, 3), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 10, 48)
RECIPE = Recipe(
    epochs=2,
    batch=16,
    peak_lr=0.01,
    step_lr=0.02,
    precision="fp32",
    compiled=False,
    warmup=0.0,
)


class Small(nn.Module):
    """Two convolutions with a skip between them, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, 4, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.two = nn.Conv2d(4, 4, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.relu2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(4, 10)

    def forward(self, x):
        x = self.relu(self.bn(self.one(x)))
        x = self.relu2(self.bn2(self.two(x)) + x)
        return self.fc(self.flatten(self.pool(x)))


def small():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return stir(Small())


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(**config):
    simulated = simulate(small(), LsqConfig(**config))
    lsq.start(simulated, randn(16, 3, 32, 32))
    return simulated


def test_inputs_and_weights_of_layers_are_rounded_and_nothing_else(resnet8):
    simulated = simulate(resnet8, LsqConfig(weight_bits=3, activation_bits=2))
    found = {
        q.name: (q.config.bits, q.config.signed) for q in quantizers(simulated).values()
    }
    blocks = [f"stage{stage}.0.conv{conv}" for stage in (1, 2, 3) for conv in (1, 2)]
    shortcuts = [f"stage{stage}.0.shortcut.0" for stage in (2, 3)]
    wanted = {
        "conv1.input": (8, True),
        "conv1.weight": (8, True),
        "fc.input": (8, False),
        "fc.weight": (8, True),
        # One step a tensor: a shortcut reads what the first convolution reads.
        **{f"{name}.input": (2, False) for name in blocks},
        **{f"{name}.weight": (3, True) for name in (*blocks, *shortcuts)},
    }
    assert found == wanted
    targets = [str(n.target) for n in simulated.graph.nodes if n.op == "call_module"]
    add = targets.index("stage1.0.add")
    assert not any("quantizer" in name for name in targets[add - 1 : add + 2])


def test_it_computes_what_is_written_out_by_hand():
    simulated = made(weight_bits=3, activation_bits=2).eval()
    steps = {q.name: q.step.detach() for q in quantizers(simulated).values()}
    model, x = small(), randn(5, 3, 32, 32, seed=2)

    def rounded(v, name, low, high):
        s = steps[name]
        return torch.round((v / s).clamp(low, high)) * s

    def layer(x, path, low, high, w_low, w_high, call):
        weight = getattr(model, path).weight
        return call(
            rounded(x, f"{path}.input", low, high),
            rounded(weight, f"{path}.weight", w_low, w_high),
        )

    with torch.no_grad():
        y = layer(
            x,
            "one",
            -128,
            127,
            -128,
            127,
            lambda a, w: nn.functional.conv2d(a, w, stride=4),
        )
        y = model.relu(model.bn(y))
        z = layer(y, "two", 0, 3, -4, 3, nn.functional.conv2d)
        y = model.relu2(model.bn2(z) + y)
        y = y.mean((2, 3))
        y = layer(y, "fc", 0, 255, -128, 127, nn.functional.linear) + model.fc.bias
        torch.testing.assert_close(simulated(x), y, rtol=1e-5, atol=1e-5)


def test_steps_start_from_weights_and_from_what_reaches_them():
    model, x = small(), randn(16, 3, 32, 32)
    simulated = simulate(model, LsqConfig())
    before = copy.deepcopy(simulated.state_dict())
    lsq.start(simulated, x)
    found = {q.name: q for q in quantizers(simulated).values()}
    eight, two = CodeRange(-128, 127), CodeRange(-2, 1)
    for name, v, codes in (
        ("one.input", x, eight),
        ("one.weight", model.one.weight, eight),
        ("two.weight", model.two.weight, two),
    ):
        assert torch.equal(found[name].step, initial_step(v, codes=codes)), name
    # The second layer starts from what the rounded first gives, normalized by batch.
    shown = dict((q.name, v) for q, v in lsq.rounded_tensors(simulated, x))
    assert not torch.equal(
        found["two.input"].step, initial_step(shown["two.input"], codes=CodeRange(0, 3))
    )
    with torch.no_grad():
        y = nn.functional.conv2d(
            found["one.input"](x), found["one.weight"](model.one.weight), stride=4
        )
        y = nn.functional.batch_norm(
            y, None, None, model.bn.weight, model.bn.bias, training=True
        )
    torch.testing.assert_close(
        found["two.input"].step.detach(),
        initial_step(y.relu(), codes=CodeRange(0, 3)),
    )
    for name, tensor in simulated.state_dict().items():
        if not name.endswith(".step"):
            assert torch.equal(tensor, before[name]), name


def test_steps_are_all_started_or_none():
    simulated = made()
    before = copy.deepcopy(simulated.state_dict())
    with torch.no_grad():
        simulated.get_submodule("fc").layer.weight[0, 0] = float("inf")
    before["fc.layer.weight"] = simulated.state_dict()["fc.layer.weight"].clone()
    with pytest.raises(ValueError, match=r"'fc.weight': v holds inf"):
        lsq.start(simulated, randn(8, 3, 32, 32, seed=5))
    for name, tensor in simulated.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for bad, words in ((torch.zeros(0, 3, 32, 32), "of shape"), (7, "is int")):
        with pytest.raises(ValueError, match=words):
            lsq.start(simulated, bad)


def train(simulated, recipe=RECIPE, **options):
    return lsq.train(simulated, IMAGES, LABELS, recipe=recipe, seed=0, **options)


EVERYTHING = Recipe(
    **{
        **RECIPE.params(),
        **{"muon_lr": 0.002, "distill": 0.5, "temperature": 4.0},
        **{"ema_decay": 0.9, "bn_batches": 2},
    }
)


@pytest.mark.parametrize("positivity", ["clamp", "softplus"])
def test_a_killed_training_ends_in_the_same_bits(tmp_path, positivity):
    options = {"recipe": EVERYTHING, "teacher": small()}
    whole, parts = (made(positivity=positivity) for _ in range(2))
    train(whole, **options)
    train(parts, **options, resume=tmp_path, stop_after=1)
    parts = made(positivity=positivity)
    train(parts, **options, resume=tmp_path)
    found = parts.state_dict()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, found[name]), name


def test_steps_move_and_weights_keep_more_than_their_codes():
    simulated = made()
    before = {n: p.detach().clone() for n, p in simulated.named_parameters()}
    train(simulated)
    for name, parameter in simulated.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    two = lsq.weight_of(simulated.get_submodule("two"))
    assert len(two.unique()) > 4


def test_resuming_with_other_bits_is_refused(tmp_path):
    train(made(weight_bits=2), resume=tmp_path, stop_after=1)
    with pytest.raises(
        ValueError, match=r"'two.weight' has 3 bits and the checkpoint 2"
    ):
        train(made(weight_bits=3), resume=tmp_path)


def test_what_cannot_be_trained_is_one_line():
    still = Recipe(**{**RECIPE.params(), "peak_lr": 0.0, "step_lr": None})
    with pytest.raises(ValueError, match="peak_lr 0 trains nothing"):
        train(made(), recipe=still)
    with pytest.raises(ValueError, match=r"'\w+.input' has no step: start it"):
        train(simulate(small(), LsqConfig()))
    with pytest.raises(ValueError, match="was simulated with SimulateConfig"):
        train(simulate(small(), SimulateConfig()))
    with pytest.raises(ValueError, match="no convolution and no linear layer"):
        simulate(nn.Sequential(nn.ReLU()), LsqConfig())
    taught = Recipe(**{**RECIPE.params(), "distill": 0.5})
    with pytest.raises(ValueError, match=r"distill 0.5 with no teacher"):
        train(made(), recipe=taught)
    with pytest.raises(ValueError, match=r"distill 0.0 with a teacher"):
        train(made(), teacher=small())


def test_qat_does_not_take_learned_steps_for_its_own():
    with pytest.raises(ValueError, match=r"LsqConfig.*qstudy.methods.lsq"):
        qat.train(
            made(),
            IMAGES,
            LABELS,
            recipe=RECIPE,
            schedule=qat.Schedule(),
            seed=0,
        )


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"weight_bits": 1}, "weight_bits 1 is not a whole number from 2 to 8"),
        ({"activation_bits": 9}, "activation_bits 9 is not a whole number"),
        ({"first_last_bits": 0}, "first_last_bits 0 is not"),
        ({"placement": "everywhere"}, r"placement 'everywhere' is not one of"),
        ({"count": "weight"}, "count 'weight' is not one of"),
        ({"gradient": "x"}, "gradient 'x' is not one of"),
        ({"bn_strategy": "x"}, "bn_strategy 'x' is not one of"),
    ],
)
def test_a_configuration_outside_its_range_is_refused(field, words):
    with pytest.raises(ValueError, match=words):
        LsqConfig(**field)


# torch's own tracer makes an instance of every autograd.Function that it meets.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("variant", [{}, {"offset": True, "bounds": "torch"}])
def test_it_compiles_as_one_graph_to_the_same_numbers(variant):
    x = randn(4, 3, 32, 32, seed=7)
    found = []
    for compiled in (False, True):
        simulated = made(**variant).train()
        forward = simulated
        if compiled:
            forward = torch.compile(simulated, backend="aot_eager", fullgraph=True)
        forward(x).square().sum().backward()
        found.append({n: p.grad for n, p in simulated.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, msg=name)
        # Within its bounds an offset has no gradient, before normalization no bias.
        assert gradient.abs().sum() > 0 or name.endswith(("offset", "bias")), name


def test_update_ratios_are_those_of_the_gradients():
    simulated = made().train()
    watched = lsq.UpdateRatios(simulated)
    x = randn(4, 3, 32, 32, seed=7)
    wanted = []
    for scale in (1.0, 3.0):
        simulated.zero_grad()
        (scale * simulated(x).square().sum()).backward()
        two = simulated.get_submodule("two").weight_quantizer
        weight = lsq.weight_of(simulated.get_submodule("two"))
        of_step = two.step.grad.abs() / two.step
        wanted.append((of_step / (weight.grad.norm() / weight.norm())).item())
    assert watched.means()["two.weight"] == pytest.approx(sum(wanted) / 2, rel=1e-5)
    assert set(watched.means()) == {q.name for q in quantizers(simulated).values()}
    assert watched.alive()["two"] == 1.0
    # An update without a gradient of the weights has no ratio, and counts for none.
    simulated.zero_grad()
    (0.0 * simulated(x).square().sum()).backward()
    assert watched.means()["two.weight"] == pytest.approx(sum(wanted) / 2, rel=1e-5)
    assert watched.alive()["two"] == pytest.approx(2 / 3)


def test_at_8_bits_an_engine_runs_what_was_trained():
    model = small()
    for bn in (model.bn, model.bn2):
        bn.weight.data.abs_()  # a code of -128 has no negative in int8
    config = LsqConfig(
        weight_bits=8, activation_bits=8, placement="outputs", start="min_max"
    )
    simulated = simulate(model, config)
    lsq.start(simulated, randn(16, 3, 32, 32))
    train(simulated)
    converted = convert(simulated, engine="fbgemm")
    x = randn(6, 3, 32, 32, seed=4)
    found = agreement(simulated, converted, x)
    values = sum(kernel.values for kernel in found.kernels)
    off = sum(sum(kernel.alone.values()) for kernel in found.kernels)
    assert off <= 0.001 * values
    assert all(k.from_tie is None or k.from_tie < 1e-3 for k in found.kernels)
    assert all(isinstance(q, LearnedQuantize) for q in quantizers(simulated).values())


def test_zoo_networks_start_too(resnet8, images):
    simulated = simulate(resnet8, LsqConfig(start="mse"))
    lsq.start(simulated, images)
    assert torch.isfinite(simulated.eval()(images)).all()
    assert zoo.NAMES[0] == "resnet8"

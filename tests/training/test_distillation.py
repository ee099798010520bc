"""The distilled loss against its formula, statistics against plain means, rates."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from qstudy.training.distillation import distilled
from qstudy.training.loop import train
from qstudy.training.recipe import Recipe
from qstudy.training.statistics import reestimate
from qstudy.training.updates import updates


@given(
    seed=st.integers(0, 2**31),
    share=st.floats(0, 1),
    temperature=st.floats(0.5, 8),
    smoothing=st.floats(0, 0.5),
)
def test_the_loss_is_the_formula(seed, share, temperature, smoothing):
    generator = torch.Generator().manual_seed(seed)
    z, t = (3 * torch.randn(6, 4, generator=generator) for _ in range(2))
    labels = torch.randint(0, 4, (6,), generator=generator)
    found = distilled(
        z, labels, t, share=share, temperature=temperature, label_smoothing=smoothing
    )
    p, q = ((v.double() / temperature).softmax(1) for v in (t, z))
    apart = (p * (p.log() - q.log())).sum(1).mean()
    logs = z.double().log_softmax(1)
    one = -logs.gather(1, labels[:, None]).mean()
    label = (1 - smoothing) * one - smoothing * logs.mean(1).mean()
    wanted = (1 - share) * label + share * temperature**2 * apart
    assert found.item() == pytest.approx(float(wanted), rel=1e-4, abs=1e-5)


def test_no_gradient_reaches_the_teacher():
    z, t = (torch.randn(3, 4).requires_grad_() for _ in range(2))
    distilled(z, torch.zeros(3).long(), t, share=0.5, temperature=2.0).backward()
    assert t.grad is None and z.grad.abs().sum() > 0


class Tiny(nn.Module):
    def __init__(self, *, learned=True):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 8, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.hidden = nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(64, 10)
        if learned:
            self.step = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        x = self.hidden(self.bn(self.conv(x)))
        return self.fc(x.flatten(1)) * getattr(self, "step", 1.0)


IMAGES = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 10, 24)
SMALL = {"epochs": 2, "batch": 8, "precision": "fp32", "compiled": False}


def test_a_student_follows_its_teacher_and_leaves_it_alone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher, student = Tiny(learned=False).eval(), Tiny(learned=False)
        before = {k: v.clone() for k, v in teacher.state_dict().items()}

    def apart():
        from qstudy.training.batches import normalise

        x = normalise(IMAGES)
        with torch.no_grad():
            return float((student.eval()(x) - teacher(x)).square().mean())

    first = apart()
    recipe = Recipe(**{**SMALL, "epochs": 15}, peak_lr=0.05, distill=1.0, flip=False)
    train(student, IMAGES, LABELS, recipe=recipe, seed=0, teacher=teacher)
    assert apart() < 0.5 * first
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(p.grad is None for p in teacher.parameters())


def test_statistics_are_the_means_over_batches():
    model = Tiny()
    frozen = nn.BatchNorm2d(2)
    held = frozen.running_mean.fill_(3.0).clone()
    model.frozen = frozen
    model.frozen.train = lambda mode=True: nn.Module.train(model.frozen, False)
    batches = [2 * torch.randn(5, 3, 32, 32) + 1 for _ in range(3)]
    weights = {n: p.clone() for n, p in model.named_parameters()}
    reestimate(model, iter(batches))
    with torch.no_grad():
        shown = [model.conv(b) for b in batches]
    means = torch.stack([y.mean((0, 2, 3)) for y in shown]).mean(0)
    variances = torch.stack([y.var((0, 2, 3)) for y in shown]).mean(0)
    torch.testing.assert_close(model.bn.running_mean, means)
    torch.testing.assert_close(model.bn.running_var, variances)
    assert model.bn.momentum == 0.1 and not model.training
    assert torch.equal(frozen.running_mean, held)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name])
    with pytest.raises(ValueError, match="no batches to measure"):
        reestimate(model, [])


def test_the_loop_measures_statistics_at_its_end_alone(tmp_path):
    found = []
    for batches in (0, 2):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Tiny()
        recipe = Recipe(**SMALL, peak_lr=0.01, bn_batches=batches)
        train(model, IMAGES, LABELS, recipe=recipe, seed=0)
        found.append(model.state_dict())
    same = {k for k in found[0] if torch.equal(found[0][k], found[1][k])}
    assert found[0].keys() - same == {
        "bn.running_mean",
        "bn.running_var",
        "bn.num_batches_tracked",
    }


def test_steps_have_a_rate_of_their_own_and_do_not_decay():
    model = Tiny().to(memory_format=torch.channels_last)
    for muon in (0.0, 0.002):
        recipe = Recipe(**SMALL, peak_lr=0.5, step_lr=0.1, muon_lr=muon)
        (group,) = [
            g
            for o in updates(model, recipe).optimizers
            for g in o.param_groups
            if any(p is model.step for p in g["params"])
        ]
        assert group["params"] == [model.step]
        assert (group["peak_lr"], group["weight_decay"]) == (0.1, 0.0)
    as_rest = updates(model, Recipe(**SMALL, peak_lr=0.5))
    assert [g["peak_lr"] for g in as_rest.optimizers[0].param_groups] == [0.5, 0.5]
    plain = updates(Tiny(learned=False), Recipe(**SMALL))
    assert len(plain.optimizers[0].param_groups) == 1


def test_the_step_schedule_divides_by_ten_twice():
    recipe = Recipe(epochs=1, warmup=0.1, schedule="step")
    rates = [recipe.share_of_peak(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10:50] == [1.0] * 40
    assert rates[50:75] == pytest.approx([0.1] * 25)
    assert rates[75:] == pytest.approx([0.01] * 25)


@pytest.mark.parametrize(
    "field",
    [
        {"distill": 1.1},
        {"temperature": 0.0},
        {"step_lr": -1.0},
        {"step_lr": math.nan},
        {"bn_batches": -1},
        {"schedule": "line"},
    ],
)
def test_a_recipe_outside_its_range_is_refused(field):
    name, value = next(iter(field.items()))
    with pytest.raises(ValueError, match=f"{name} {value!r} is"):
        Recipe(**field)

"""SGD is torch's own; Muon moves every direction of a convolution alike."""

import copy

import pytest
import torch
from torch import nn

from qstudy.models.resnet import resnet
from qstudy.training.recipe import Recipe
from qstudy.training.updates import as_matrix, updates

RECIPE = Recipe(peak_lr=0.1, weight_decay=0.01, precision="fp32", compiled=False)
MUON = Recipe(**{**RECIPE.params(), "muon_lr": 0.02, "muon_weight_decay": 0.1})


@pytest.fixture
def network():
    return resnet(8, seed=3).to(memory_format=torch.channels_last).train()


def backward(model, seed=0):
    torch.manual_seed(seed)
    x, y = torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))
    nn.functional.cross_entropy(model(x), y).backward()


def test_without_muon_it_is_sgd(network):
    other = copy.deepcopy(network)
    ours = updates(network, RECIPE)
    theirs = torch.optim.SGD(
        other.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01
    )
    for step in range(3):
        backward(network, step)
        ours.set_rates(0.5)
        ours.step()
        theirs.zero_grad()
        backward(other, step)
        theirs.step()
    for (name, mine), theirs_ in zip(
        network.named_parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs_), name
        assert mine.grad is None


def test_muon_has_all_convolutions_but_the_first(network):
    before = copy.deepcopy(network)
    ours = updates(network, MUON)
    backward(network)
    alike = copy.deepcopy(network)
    for mine, kept in zip(network.parameters(), alike.parameters(), strict=True):
        kept.grad = mine.grad.clone()
    torch.optim.SGD(
        alike.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    ).step()
    ours.set_rates(1.0)
    ours.step()
    names = [n for n, p in network.named_parameters() if p.dim() == 4]
    olds, sgds = dict(before.named_parameters()), dict(alike.named_parameters())
    for name, new in network.named_parameters():
        if name not in names[1:]:
            assert torch.equal(new, sgds[name]), name
            continue
        change = as_matrix(new.detach()) - (1 - 0.02 * 0.1) * as_matrix(olds[name])
        # Near-orthogonal: Newton-Schulz leaves singular values of 0.7 to 1.2, and a
        # tall matrix is scaled by the root of its sides' ratio.
        tall = max(1, change.shape[0] / change.shape[1]) ** 0.5
        values = torch.linalg.svdvals(change.detach()) / (0.02 * tall)
        assert values.min() > 0.5 and values.max() < 1.3, name


def test_rates_are_shares_of_each_peak(network):
    ours = updates(network, MUON)
    ours.set_rates(0.25)
    rates = [g["lr"] for o in ours.optimizers for g in o.param_groups]
    assert rates == [0.025, 0.005]


def test_a_matrix_shares_the_memory_of_its_convolution():
    weight = torch.arange(54.0).view(2, 3, 3, 3)
    stored = weight.to(memory_format=torch.channels_last)
    matrix = as_matrix(stored)
    matrix[1, 5] = -1
    assert matrix.shape == (2, 27)
    assert (stored == -1).sum() == 1
    # column 5: the third channel of the second pixel
    assert stored[1, 2, 0, 1] == -1
    with pytest.raises(RuntimeError, match="view"):
        as_matrix(weight)

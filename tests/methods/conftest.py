"""One thread, and a small network with images for it."""

import pytest
import torch

from qstudy.models import zoo
from tests.methods.networks import stir


@pytest.fixture(autouse=True)
def alone(one_thread):
    """Every test of this folder runs on one thread."""


@pytest.fixture
def resnet8():
    return stir(zoo.build("resnet8", seed=3))


@pytest.fixture
def images():
    return torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))

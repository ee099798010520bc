"""Five networks that the study does not use, as a reader's own might be."""

import torch
from torch import nn

CLASSES = 10
WORDS = 50


def _seeded(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def plain_cnn():
    """Two convolutions with normalization, pooling, one linear layer."""
    return _seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, CLASSES),
        )
    )


def depthwise():
    """A depthwise and a pointwise convolution, with ReLU6."""
    return _seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU6(),
            nn.Conv2d(16, 16, 3, padding=1, groups=16),
            nn.ReLU6(),
            nn.Conv2d(16, 24, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(24, CLASSES),
        )
    )


def mlp():
    """Three linear layers: takes (B, 32)."""
    return _seeded(
        lambda: nn.Sequential(
            nn.Linear(32, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, CLASSES),
        )
    )


class _Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Linear(8, CLASSES)

    def forward(self, x):
        y = self.first(x)
        return self.last((y * torch.sigmoid(y)).mean((2, 3)))


def unsupported():
    """Multiplies two activations, which this study's int8 graph has no kernel for."""
    return _seeded(_Gated)


class _Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(self.conv2(self.relu(self.conv1(x))) + x)
        return self.fc(self.pool(x).flatten(1))


class _Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(WORDS, 16)
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, ids):
        return self.fc(self.table(ids).mean(1))


def bag():
    """The mean of the rows of a table: ids in, WORDS of them known."""
    return _seeded(_Bag)


def reused():
    """A residual block that calls one ReLU module three times."""
    return _seeded(_Residual)


class _Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.fc(x) if float(x.sum()) > 0 else -self.fc(x)


def branching():
    """Its operations depend on its data, so nothing can export it."""
    return _seeded(_Branching)


ALL = {
    "plain_cnn": (plain_cnn, (3, 16, 16)),
    "depthwise": (depthwise, (3, 16, 16)),
    "mlp": (mlp, (32,)),
    "unsupported": (unsupported, (3, 16, 16)),
    "reused": (reused, (3, 16, 16)),
}

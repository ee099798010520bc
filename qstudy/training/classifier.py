"""Train a small classifier on feature vectors: the linear head and the MLP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from qstudy.training.loop import check_finite


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe:
    """AdamW with a linear decay to zero, in fp32; ValueError for epochs below 1."""

    epochs: int
    batch: int = 64
    peak_lr: float = 1e-3
    weight_decay: float = 1e-2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1:
            raise ValueError(f"epochs {self.epochs} and batch {self.batch}: at least 1")


def train_classifier(
    model: nn.Module,
    features: Tensor,
    labels: np.ndarray,
    *,
    recipe: ClassifierRecipe,
    seed: int,
    step: object = lambda note: None,
) -> float:
    """Train `model` in place; return the last epoch's mean loss in nats.

    `features` is float32 (n, K), `labels` integer (n,). `step` is called once an epoch.
    Raises FloatingPointError when the loss is no longer finite.
    """
    targets = torch.from_numpy(np.asarray(labels, dtype=np.int64))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.peak_lr, weight_decay=recipe.weight_decay
    )
    model.train()
    mean = float("nan")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # order and dropout
        for epoch in range(recipe.epochs):
            for group in optimizer.param_groups:
                group["lr"] = recipe.peak_lr * (1 - epoch / recipe.epochs)
            total = 0.0
            for chosen in torch.randperm(len(targets)).split(recipe.batch):
                loss = nn.functional.cross_entropy(
                    model(features[chosen]), targets[chosen]
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(chosen)
            mean = total / len(targets)
            check_finite(mean, epoch=epoch, peak_lr=recipe.peak_lr)
            step(f"loss {mean:.3f}")
    model.eval()
    return mean

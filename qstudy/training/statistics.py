"""Batch-norm statistics measured again once the weights have come to rest.

Running statistics trail the weights, and where weights are rounded to few bits a small
update can move many codes at once, so that what they hold is the average of networks
that no longer exist (Nagel et al. 2022, arXiv 2203.11086, section 3.2). An average of
the weights over updates has never had statistics of its own at all.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def reestimate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of `model`, in place, by those of `batches`.

    Each is the plain mean of what every batch (B, ...) gives, in float32. Weights and
    other buffers stay; normalizations that are frozen keep what they have. The model
    is in eval mode afterwards. Raises ValueError where there is no batch.
    """
    model.train()
    norms = {
        module: module.momentum
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.training
    }
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the mean of all batches
    seen = False
    try:
        with torch.no_grad():
            for batch in batches:
                model(batch)
                seen = True
    finally:
        for module, momentum in norms.items():
            module.momentum = momentum
        model.eval()
    if norms and not seen:
        raise ValueError("there are no batches to measure statistics on")

"""Networks whose batch normalization has something to fold."""

import torch
from torch import nn


def stir(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """Give every normalization statistics of its own, gammas of both signs; eval."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(0.0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            if module.affine:
                nn.init.normal_(module.weight, 0.0, 1.0, generator=generator)
                nn.init.normal_(module.bias, 0.0, 0.5, generator=generator)
    return model.eval()

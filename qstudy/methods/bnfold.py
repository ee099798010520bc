"""Batch normalization in quantization-aware training: five strategies, one module.

An integer network holds one convolution where the float network has a convolution and a
normalization, so what is rounded at inference is the folded weight (fusion's formula):

    W' = W s,   b' = (b - mean) s + beta,   s = gamma / sigma,   sigma = sqrt(var + eps)

Training should meet the same rounding Q, but its statistics are the batch's: a weight
folded with them would be another one at each step. With mu, sigma the running
statistics as the step begins, mu_B, sigma_B those of the batch (its biased variance;
the unbiased one enters the running average), and * the convolution, a step computes

    none       BN(x * Q(W) + b), normalization kept, folded only at conversion
    frozen     x * Q(W s) + b' with running statistics that are never updated
    one_pass   BN((x * Q(W s)) / s + b): s is taken out again, BN does the rest
    two_pass   x * Q(W s) sigma / sigma_B + (b - mu_B) gamma / sigma_B + beta, where
               mu_B and sigma_B are those of a first convolution x * W + b
    fold_first x * Q(W') + b', with W' and b' the parameters from the first step on

one_pass is PyTorch's (torch.ao.nn.intrinsic.qat.ConvBn2d); two_pass is Krishnamoorthi
2018 (arXiv:1806.08342, section 3.2.2), whose correction c = sigma_B / sigma keeps the
quantized weight from moving with the batch. They differ in one thing: two_pass
normalizes by the statistics of the unrounded convolution, at the price of computing it.
In eval mode, and in training once the statistics are frozen, both are x * Q(W s) + b',
which is what runs on integers. Without rounding, none, one_pass and two_pass are the
same function with the same gradients; so are frozen and a normalization in eval mode.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from qstudy.methods.fusion import bn_affine, fold_bn, per_channel
from qstudy.methods.snapshot import snapshot

BN_STRATEGIES = ("none", "frozen", "one_pass", "two_pass", "fold_first")


class ConvBn2d(nn.Module):
    """A convolution and its batch normalization, trained by one of BN_STRATEGIES.

    (B, Cin, H, W) to (B, Cout, H', W') like `conv` then `bn`. Both are kept, not
    copied, as submodules of the same names; fold_first leaves them alone and holds one
    new convolution with a bias, and `bn` None. `weight_quantizer` maps a weight
    (Cout, Cin/groups, kH, kW) to its rounded form and is called once a step. Whether
    statistics are the batch's is `bn.training`, which `train`, `eval` and `freeze` set.

    Under bf16 autocast, folding, quantizer and statistics stay in float32. Raises
    ValueError for an unknown strategy, modules of another kind, other dtypes than
    float32 and float64, channels that do not match, no running statistics, values that
    are not finite, and a gamma of 0 with one_pass, which divides by it.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        bn: nn.BatchNorm2d,
        *,
        strategy: str,
        weight_quantizer: nn.Module,
    ) -> None:
        super().__init__()
        _check(conv, bn, strategy)
        self.strategy = strategy
        self.frozen = strategy in ("frozen", "fold_first")
        self.conv, self.bn = conv, bn
        self.weight_quantizer = weight_quantizer
        if strategy == "fold_first":
            self.conv = copy.deepcopy(conv)
            with torch.no_grad():
                folded = fold_bn(conv.weight, **self._running(bn))
            self.conv.weight, self.conv.bias = map(nn.Parameter, folded)
            self.bn = None
        self.train(conv.training)

    def freeze(self) -> Self:
        """From now on train mode computes what eval mode does; statistics rest.

        The running statistics are constants then, gamma and beta are still trained.
        Not part of the state dict: a schedule that resumes calls it again.
        """
        self.frozen = True
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen and self.bn is not None:
            self.bn.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """ValueError where a batch has one value a channel, and so no variance."""
        conv, bn = self.conv, self.bn
        if bn is None:
            return self._convolve(x, self.weight_quantizer(conv.weight), conv.bias)
        if self.strategy == "none":
            return bn(self._convolve(x, self.weight_quantizer(conv.weight), conv.bias))
        running = self._running(bn)
        if bn.training:  # then this step updates what it folds with
            running["var"] = snapshot(bn.running_var)
        scale, shift = bn_affine(**running)
        weight = self.weight_quantizer(conv.weight * per_channel(scale, 4))
        if not bn.training:
            return self._convolve(x, weight, shift)
        if self.strategy == "one_pass":
            scaled = self._convolve(x, weight, None)
            y = scaled / per_channel(scale, 4, axis=1)
            if conv.bias is not None:
                y = y + per_channel(conv.bias, 4, axis=1)
            return bn(y).to(scaled.dtype)
        return self._two_pass(x, weight, bn, running["var"])

    def folded(self, *, quantized: bool = False) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution to convert to, detached.

        The weight is what the quantizer takes, or gives where `quantized`: then eval
        mode computes the convolution with the two. With "none", where rounding comes
        first, both are the rounded weight times s: rounded again per channel on a
        symmetric grid it keeps its codes (negated for a negative gamma), per tensor it
        need not. Raises ValueError as `fold_bn` does.
        """
        conv, bn, rounded = self.conv, self.bn, self.weight_quantizer
        with torch.no_grad():
            if bn is None:
                weight, bias = conv.weight.clone(), conv.bias.clone()
            elif self.strategy == "none":
                return fold_bn(rounded(conv.weight), **self._running(bn))
            else:
                weight, bias = fold_bn(conv.weight, **self._running(bn))
            return (rounded(weight) if quantized else weight), bias

    def extra_repr(self) -> str:
        return f"strategy={self.strategy!r}, frozen={self.frozen}"

    def _two_pass(
        self, x: Tensor, weight: Tensor, bn: nn.BatchNorm2d, running_var: Tensor
    ) -> Tensor:
        first = self._convolve(x, self.conv.weight, self.conv.bias)
        count = first.numel() // first.shape[1]
        if count < 2:
            raise ValueError(
                f"batch of shape {tuple(x.shape)} gives {count} value a channel, which "
                "has no variance: use a larger batch, or freeze()"
            )
        wide = first.to(torch.promote_types(first.dtype, torch.float32))
        var, mean = torch.var_mean(wide, (0, 2, 3), correction=0)
        # With what `weight` was folded with.
        correction = ((running_var + bn.eps) / (var + bn.eps)).sqrt()
        _, shift = bn_affine(mean=mean, var=var, **self._constants(bn))
        with torch.no_grad():
            bn.num_batches_tracked.add_(1)
            share = bn.momentum  # of the new value; None: all batches weigh the same
            if share is None:
                share = 1 / bn.num_batches_tracked.to(var.dtype)
            bn.running_mean.lerp_(mean, share)
            bn.running_var.lerp_(var * (count / (count - 1)), share)
        y = self._convolve(x, weight, None) * per_channel(correction, 4, axis=1)
        return (y + per_channel(shift, 4, axis=1)).to(first.dtype)

    def _constants(self, bn: nn.BatchNorm2d) -> dict[str, Any]:
        """All of fusion's formula but the weight and the statistics."""
        bias, eps = self.conv.bias, bn.eps
        return {"bias": bias, "gamma": bn.weight, "beta": bn.bias, "eps": eps}

    def _running(self, bn: nn.BatchNorm2d) -> dict[str, Any]:
        statistics = {"mean": bn.running_mean, "var": bn.running_var}
        return statistics | self._constants(bn)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # Conv2d's own forward with another weight: it knows the padding modes.
        return self.conv._conv_forward(x, weight, bias)


def _check(conv: nn.Conv2d, bn: nn.BatchNorm2d, strategy: str) -> None:
    if strategy not in BN_STRATEGIES:
        raise ValueError(f"strategy {strategy!r} is not one of {BN_STRATEGIES}")
    for module, kind in ((conv, nn.Conv2d), (bn, nn.BatchNorm2d)):
        if not isinstance(module, kind):
            raise ValueError(f"{type(module).__name__} is not an nn.{kind.__name__}")
    if conv.out_channels != bn.num_features:
        raise ValueError(
            f"bn of {bn.num_features} channels follows a convolution with "
            f"{conv.out_channels}: they must be equal"
        )
    if bn.running_mean is None:
        raise ValueError(
            "bn keeps no running statistics, so there is nothing to fold: build it "
            "with track_running_stats=True"
        )
    tensors = {
        f"{owner}.{name}": tensor
        for owner, module in (("conv", conv), ("bn", bn))
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point()
    }
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"{name} is {tensor.dtype}, not float32 or float64: keep the "
                "parameters in float32 and use torch.autocast"
            )
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds values that are not finite")
    lowest = (bn.running_var + bn.eps).min().item()
    if lowest <= 0:
        raise ValueError(
            f"bn.running_var + eps is {lowest} somewhere: it must be positive"
        )
    if strategy == "one_pass" and bn.affine and bool((bn.weight == 0).any()):
        raise ValueError(
            "bn.weight is 0 somewhere, and one_pass divides by it: use two_pass"
        )

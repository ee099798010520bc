"""The study's dynamic linear beside the kernels of torch's engines and of torchao.

Each is given the same int8 weights and the same float32 input, and the float32 results
are compared bit by bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qstudy.measure import system
from qstudy.methods import dynamic, legacy
from qstudy.numerics.dynamic import dynamic_linear
from qstudy.numerics.granularity import PerChannel, PerTensor
from qstudy.numerics.mapping import CodeRange, quantize
from qstudy.numerics.qparams import choose_qparams, range_of

# The order of the last multiplications in each kernel (numerics.dynamic.ORDERS).
ORDERS = {
    "fbgemm": "fused",
    "x86": "fused",
    "onednn": "inverse",
    "qnnpack": "product",
    "torchao": "sequence",
}


@dataclass(frozen=True)
class Kernel:
    """One kernel: whose, its weights' granularity, the bits of its activations."""

    engine: str
    granularity: str
    activation_bits: int

    @property
    def name(self) -> str:
        short = self.granularity.replace("_", "-")
        return f"{self.engine} {short} {self.activation_bits} bit"


@dataclass(frozen=True)
class Outcome:
    """How many results there were and how many have other bits."""

    count: int
    differing: int


def kernels() -> tuple[Kernel, ...]:
    """Every kernel that this machine has."""
    found = [
        Kernel(engine, granularity, bits)
        for engine in system.engines()
        if engine in ORDERS
        for granularity in ("per_tensor", "per_channel")
        for bits in ((8,) if engine == "qnnpack" else (7, 8))
    ]
    try:
        dynamic.import_torchao()
    except ImportError:
        return tuple(found)
    return (*found, Kernel("torchao", "per_channel", 8))


def quantized_weight(weight: Tensor, *, granularity: str) -> tuple[Tensor, Tensor]:
    """int8 codes (C, K) and float32 scale, () or (C,), as torch's observers choose."""
    shared = PerTensor() if granularity == "per_tensor" else PerChannel(0)
    chosen = choose_qparams(
        *range_of(weight, shared),
        codes=CodeRange(-128, 127),
        scheme="scale",
        convention="half_range",
        granularity=shared,
        smallest_scale=torch.finfo(torch.float32).eps,
    )
    return quantize(weight, chosen, invert=True).to(torch.int8), chosen.scale


Forward = Callable[[Tensor], Tensor]


def ours(kernel: Kernel, linear: nn.Linear) -> Forward:
    """float32 (N, K) to (N, C) by the study's arithmetic, under `kernel`'s rules."""
    codes, scale = quantized_weight(
        linear.weight.detach(), granularity=kernel.granularity
    )
    bias = None if linear.bias is None else linear.bias.detach()

    def forward(x: Tensor) -> Tensor:
        return dynamic_linear(
            x,
            codes,
            scale,
            bias,
            activation="per_token" if kernel.engine == "torchao" else "per_tensor",
            activation_bits=kernel.activation_bits,
            order=ORDERS[kernel.engine],
        )

    return forward


def theirs(kernel: Kernel, linear: nn.Linear) -> Forward:
    """The same by the kernel itself; ValueError for an engine not here."""
    if kernel.engine == "torchao":
        quantized = dynamic.quantize_torchao(nn.Sequential(linear))

        def forward(x: Tensor) -> Tensor:
            with torch.inference_mode():
                return quantized(x)

        return forward
    codes, scale = quantized_weight(
        linear.weight.detach(), granularity=kernel.granularity
    )
    with legacy.engine(kernel.engine), warnings.catch_warnings():
        # The quantized tensor types are deprecated; they are what is measured.
        warnings.simplefilter("ignore")
        if kernel.granularity == "per_tensor":
            packed = torch._make_per_tensor_quantized_tensor(codes, scale.item(), 0)
        else:
            zeros = torch.zeros(len(codes), dtype=torch.int64)
            packed = torch._make_per_channel_quantized_tensor(
                codes, scale.double(), zeros, 0
            )
        weight = torch.ops.quantized.linear_prepack(packed, linear.bias)

    def by_engine(x: Tensor) -> Tensor:
        with legacy.engine(kernel.engine):
            return torch.ops.quantized.linear_dynamic(
                x, weight, kernel.activation_bits == 7
            )

    return by_engine


def compare(kernel: Kernel, linear: nn.Linear, inputs: Iterable[Tensor]) -> Outcome:
    """Both on each float32 (N, K) of `inputs`; the weight is quantized once for all."""
    mine, other = ours(kernel, linear), theirs(kernel, linear)
    count = differing = 0
    for x in inputs:
        a, b = mine(x), other(x)
        count += a.numel()
        differing += int((a != b).sum())
    return Outcome(count, differing)

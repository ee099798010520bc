"""Which kernels ran, counted: the proof that a network called int8 computed in int8.

Lowering can vanish without a word, and what is then timed as int8 is fp32 with extra
steps. So each engine is asked for the kernels of one forward pass: torch by its
profiler, ONNX Runtime and OpenVINO by their own reports (their modules here). A kernel
counts by its name as arithmetic in int8, arithmetic in floats, or as the rounding
between the two; everything else (pooling, views) is neither proof nor disproof.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from qstudy.methods import quiet

KINDS = ("int8", "float", "rounding")
_PRECISION = re.compile(r" (u8|i8|f32|f16|bf16)$")
# Beginnings of names. Of torch's nested names one in each nest is listed.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "int8": (
        "quantized::conv",
        "quantized::linear",
        "quantized::batch",
        "aten::quantized_lstm",
        "onednn::qconv",
        "onednn::qlinear",
        "aten::_int_mm",
        "QLinearConv",
        "QLinearMatMul",
        "QGemm",
        "ConvInteger",
        "MatMulInteger",
        "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM",
        "QAttention",
    ),
    "rounding": (
        "FakeQuantize",
        "aten::quantize_per_tensor",
        "aten::dequantize",
        "quantized_decomposed::quantize",
        "quantized_decomposed::dequantize",
        "QuantizeLinear",
        "DequantizeLinear",
    ),
    "float": (
        "aten::convolution",
        "aten::_convolution",
        "aten::addmm",
        "aten::mm",
        "aten::bmm",
        "aten::baddbmm",
        "aten::mkldnn_linear",
        "aten::lstm",
        "aten::mkldnn_rnn_layer",
        "aten::scaled_dot_product_attention",
        "aten::_scaled_dot_product",
        "mkldnn::_convolution",
        "mkldnn::_linear",
        "mkl::_mkl_linear",
        "Conv",
        "FusedConv",
        "Gemm",
        "FusedGemm",
        "MatMul",
        "FusedMatMul",
        "LSTM",
        "Attention",
    ),
}


@dataclass(frozen=True)
class Kernels:
    """Calls of one forward pass: by kernel name, of the three KINDS alone."""

    counts: Mapping[str, int]

    def total(self, kind: str) -> int:
        """How many of `kind`; ValueError for one that is not of KINDS."""
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is not one of {KINDS}")
        return sum(n for name, n in self.counts.items() if kind_of(name) == kind)

    @property
    def int8_share(self) -> float:
        """Of the kernels that multiply, the share in int8; 0 where there are none."""
        int8, floating = self.total("int8"), self.total("float")
        return int8 / (int8 + floating) if int8 + floating else 0.0

    def __str__(self) -> str:
        named = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{count} {name}" for name, count in named)


def kind_of(name: str) -> str:
    """The kind of a kernel by its name; "" for one that is of none.

    A name may end in what it computed in, after a blank: "Convolution u8".
    """
    if told := _PRECISION.search(name):
        return "int8" if told[1] in ("u8", "i8") else "float"
    # The longest beginning decides: "ConvInteger" is no "Conv".
    begun = [
        (len(start), kind)
        for kind, starts in _NAMES.items()
        for start in starts
        if name.startswith(start)
    ]
    return max(begun)[1] if begun else ""


def counted(names: Iterable[str]) -> Kernels:
    """The Kernels of a list of names, one a call; names of no kind are left out."""
    found = Counter(name for name in names if kind_of(name))
    return Kernels(dict(sorted(found.items())))


@dataclass(frozen=True)
class Spent:
    """Where one forward pass spent its time, ms, by the profiler's clock.

    `kernels` multiply, `rounding` goes between float and int8, `other` is every other
    operator, and `framework` what remains of the whole: calls between operators. The
    profiler itself takes time at each operator, so small ones look longer: shares.
    """

    kernels: float
    rounding: float
    other: float
    framework: float

    @property
    def whole(self) -> float:
        return self.kernels + self.rounding + self.other + self.framework

    @property
    def shares(self) -> dict[str, float]:
        """Each part by its name, of 1."""
        return {part: ms / self.whole for part, ms in asdict(self).items()}


@contextmanager
def _recording(profile: torch.profiler.profile) -> Iterator[None]:
    """The block is profiled, and nobody is told on stderr that it begins and ends.

    Kineto writes that from C++, whatever is asked of warnings and logs.
    """
    with quiet.descriptor():
        profile.start()
    try:
        yield
    finally:
        with quiet.descriptor():
            profile.stop()


def profiled(
    forward: Callable[[Tensor], Any], x: Tensor, *, calls: int = 1
) -> tuple[Kernels, Spent]:
    """The kernels of one call of a torch `forward`, and where its time goes.

    Times are means of `calls` calls, after one that is not counted.
    """
    forward(x)
    profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    with _recording(profile):
        started = time.perf_counter()
        for _ in range(calls):
            forward(x)
        whole = 1000 * (time.perf_counter() - started)
    names: list[str] = []
    spent = Counter(dict.fromkeys(("kernels", "rounding", "other"), 0.0))
    ahead = [event for event in profile.events() if event.cpu_parent is None]
    while ahead:
        event = ahead.pop()
        kind = kind_of(event.name)
        if kind:
            names.append(event.name)
            place = "rounding" if kind == "rounding" else "kernels"
            spent[place] += event.cpu_time_total / 1000
        elif event.cpu_children:
            ahead += event.cpu_children
        else:
            spent["other"] += event.cpu_time_total / 1000
    once = {name: count // calls for name, count in Counter(names).items()}
    within = {place: ms / calls for place, ms in spent.items()}
    rest = max(whole / calls - sum(within.values()), 0.0)
    return Kernels(dict(sorted(once.items()))), Spent(**within, framework=rest)

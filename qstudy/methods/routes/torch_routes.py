"""The routes within PyTorch: eager in floats, traced, compiled, and int8 four ways."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from qstudy.measure import size
from qstudy.methods import convert, fp32, fusion, legacy, plain, pt2e
from qstudy.methods.dynamic import DynamicConfig, quantize_dynamic
from qstudy.methods.dynamic.tensors import stored_tensors
from qstudy.methods.routes.kernels import profiled
from qstudy.methods.routes.rewrite import one_module_a_call
from qstudy.methods.routes.route import Built, Source
from qstudy.methods.simulate import SimulateConfig, simulate
from qstudy.methods.simulate.ranges import calibrate
from qstudy.methods.torchscript import trace_frozen

Builder = Callable[[Source], Built]


def _built(forward: Callable[[Tensor], Tensor], tensors: dict[str, Tensor]) -> Built:
    def told(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return forward(x)

    return Built(
        forward=told,
        size_mib=size.safetensors_mib(tensors),
        kernels=lambda x: profiled(told, x)[0],
        spent=lambda x, calls: profiled(told, x, calls=calls)[1],
    )


def floats(how: str, precision: str) -> Builder:
    """One of qstudy.methods.fp32's forms in one of its precisions."""

    def build(source: Source) -> Built:
        if "channels_last" in how and source.example.dim() != 4:
            raise ValueError(
                f"input has {source.example.dim()} dimensions: only images "
                "(B, C, H, W) have a channels-last layout"
            )
        forward = fp32.candidate(source.network, how, precision=precision)
        folded = how in ("channels_last_fused", "traced", "compiled")
        network = fusion.fuse(source.network) if folded else source.network
        dtype = fp32.PRECISIONS[precision]
        tensors = size.float_tensors(network)
        return _built(forward, {name: t.to(dtype) for name, t in tensors.items()})

    return build


def eager_int8(engine: str, *, traced: bool = False) -> Builder:
    """Quantized modules of torch.ao, called one by one, in `engine`'s kernels.

    8 bits everywhere, weights per channel, ranges from minimum and maximum. `traced`:
    the same kernels, called from a program of TorchScript.
    """

    def build(source: Source) -> Built:
        network = convert.convert(_calibrated(source), engine=engine)
        called = _by_trace(network) if traced else network
        # The first convolution would otherwise bring its input to this layout itself.
        return _built(images_last(called), size.quantized_tensors(network))

    return build


def _by_trace(network: convert.QuantizedNetwork) -> Callable[[Tensor], Tensor]:
    program = trace_frozen(network.network)

    def forward(x: Tensor) -> Tensor:
        # Setting the engine is no operator, so no trace has it.
        with legacy.engine(network.engine):
            return program(x)

    return forward


def _calibrated(source: Source) -> fx.GraphModule:
    """The simulated network that every engine's is converted from, which keeps it."""
    if "simulated" not in source.made:
        simulated = simulate(source.network, SimulateConfig())
        calibrate(simulated, source.calibration, observer="minmax")
        source.made["simulated"] = simulated
    return source.made["simulated"]


def dynamic_int8(source: Source) -> Built:
    """Linear and LSTM modules of torch.ao, ranges found in each call, in x86's kernels.

    ValueError for a network with convolutions, which torch has no such modules for.
    """
    refuse_convolutions(source.network)
    network = quantize_dynamic(source.network, DynamicConfig(engine="x86"))
    network.check_finite = False  # read by no other route either
    return _built(network, stored_tensors(network))


def refuse_convolutions(network: nn.Module) -> None:
    """ValueError, naming the first, where `network` has convolutions."""
    for path, module in network.named_modules():
        if type(module).__name__.startswith("Conv"):
            raise ValueError(
                f"{plain.told(module, path)} has no dynamic form: the static int8 "
                "routes take convolutions"
            )


def export_int8(source: Source) -> Built:
    """torchao's PT2E with X86InductorQuantizer, compiled by inductor, frozen."""
    network: nn.Module = one_module_a_call(source.network)
    quantized = pt2e.quantize_pt2e(network, source.calibration)
    if not pt2e.count_nodes(quantized).quantize:
        raise ValueError("nothing was quantized: the quantizer knows no layer of it")
    # The graph keeps the float weights beside the codes and reads them no more.
    read = {str(node.target) for node in quantized.graph.nodes if node.op == "get_attr"}
    state = {**dict(quantized.named_parameters()), **dict(quantized.named_buffers())}
    tensors = {name: t.detach() for name, t in state.items() if name in read}
    return _built(pt2e.compiled(quantized), tensors)


def images_last(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`network` given its images channels last; other inputs as they are."""

    def forward(x: Tensor) -> Tensor:
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return network(x)

    return forward

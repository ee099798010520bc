"""Set the ranges of a simulated network: activations on data, weights by themselves.

The network runs in eval mode with rounding off, so that each quantizer is shown what
the float network computes there, as in post-training quantization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.simulate.layers import RoundedLayer
from qstudy.numerics import calibration
from qstudy.numerics.calibration import Calibrator
from qstudy.numerics.qparams import range_of

OBSERVERS: Mapping[str, Callable[..., Calibrator]] = {
    "minmax": calibration.MaxCalibrator,
    "moving_average": calibration.MovingAverageCalibrator,
    "percentile": calibration.PercentileCalibrator,
    "entropy": calibration.EntropyCalibrator,
    "entropy_nonzero": partial(calibration.EntropyCalibrator, zeros="as_next"),
    "mse": calibration.MSECalibrator,
}
# Those that search a clip, for the bits of each quantizer.
SEARCHED = ("entropy", "entropy_nonzero", "mse")

# The key of a network's `meta` under which simulate.kept says what stays in fp32.
KEPT = "kept"
# Of the clips that a search could try, 2048, every sixteenth: seconds for a network.
STRIDE = 16


def quantizers(simulated: nn.Module) -> dict[str, FakeQuantize]:
    """Every fake-quantizer by its path; ValueError for a network that has none."""
    found = {
        path: module
        for path, module in simulated.named_modules()
        if isinstance(module, FakeQuantize)
    }
    if not found:
        raise ValueError(
            f"network {type(simulated).__name__} has no fake-quantizers: simulate it "
            "first"
        )
    return found


def kept_quantizers(simulated: nn.Module) -> frozenset[str]:
    """The paths of the quantizers that are off because a layer is kept in fp32."""
    kept = getattr(simulated, "meta", {}).get(KEPT, {})
    return frozenset(kept.get("quantizers", ()))


def layers(simulated: nn.Module) -> dict[str, RoundedLayer | ConvBn2d]:
    """Every layer whose weight is rounded, by its path."""
    return {
        path: module
        for path, module in simulated.named_modules()
        if isinstance(module, RoundedLayer | ConvBn2d)
    }


def calibrate(
    simulated: nn.Module,
    batches: Iterable[Any],
    *,
    observer: str = "mse",
    **options: Any,
) -> None:
    """Set every range of `simulated`, in place.

    `batches` are float tensors, the network's input, or tuples that begin with one, as
    loaders yield. `observer` names a calibrator of qstudy.numerics.calibration for the
    activations, which `options` are passed to (percentile=99.9, stride=8); those in
    SEARCHED reckon with each quantizer's own bits and try every sixteenth clip. The
    range of a weight is its own smallest and largest value, per channel where its scale
    is.

    Raises ValueError for an unknown observer, no batches, a batch that is empty or not
    finite (by number, from 1), and values that are all zero or not finite (by the
    quantizer's name).
    """
    if observer not in OBSERVERS:
        raise ValueError(f"observer {observer!r} is not one of {tuple(OBSERVERS)}")
    of_weights = {layer.weight_quantizer for layer in layers(simulated).values()}
    kept = kept_quantizers(simulated)
    seen: dict[FakeQuantize, Calibrator] = {
        quantizer: _calibrator(observer, quantizer.config.bits, options)
        for path, quantizer in quantizers(simulated).items()
        if quantizer not in of_weights and path not in kept
    }

    def watch(quantizer: FakeQuantize, arguments: tuple[Tensor]) -> None:
        try:
            seen[quantizer].update(arguments[0])
        except ValueError as error:
            raise ValueError(f"at {quantizer.name!r}: {error}") from error

    hooks = [quantizer.register_forward_pre_hook(watch) for quantizer in seen]
    try:
        with in_float(simulated), torch.no_grad():
            for batch in inputs(batches):
                simulated(batch)
    finally:
        for hook in hooks:
            hook.remove()
    _set([(quantizer, made.range()) for quantizer, made in seen.items()])
    set_weight_ranges(simulated)


def set_weight_ranges(simulated: nn.Module) -> None:
    """Set the ranges of the weights alone, to the extremes that they have now.

    For the end of a training whose ranges move: the last update moved the weights after
    their ranges. All of them are set or none; ValueError as `calibrate`.
    """
    found = []
    for path, layer in layers(simulated).items():
        quantizer = layer.weight_quantizer
        if f"{path}.weight_quantizer" in kept_quantizers(simulated):
            continue
        try:
            low, high = range_of(rounded_weight(layer), quantizer.config.layout)
        except ValueError as error:
            raise ValueError(f"at {quantizer.name!r}: {error}") from error
        found.append((quantizer, (low, high)))
    _set(found)


def rounded_weight(layer: RoundedLayer | ConvBn2d) -> Tensor:
    """What the layer's quantizer is shown in eval mode, detached: the folded weight."""
    if isinstance(layer, RoundedLayer):
        return layer.layer.weight.detach()
    if layer.strategy == "none":
        return layer.conv.weight.detach()
    return layer.folded()[0]


def _set(ranges: list[tuple[FakeQuantize, tuple]]) -> None:
    checked = [(q, q.checked_range(low, high)) for q, (low, high) in ranges]
    for quantizer, (low, high) in checked:
        quantizer.set_range(low, high)


@contextmanager
def in_float(simulated: nn.Module) -> Iterator[None]:
    """Eval mode and no rounding; every mode and switch as before afterwards."""
    modes = [(module, module.training) for module in simulated.modules()]
    switches = [(q, bool(q.quantizing)) for q in quantizers(simulated).values()]
    simulated.eval()
    for quantizer, _ in switches:
        quantizer.quantize(False)
    try:
        yield
    finally:
        for quantizer, on in switches:
            quantizer.quantize(on)
        for module, training in modes:
            module.training = training


def inputs(batches: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors of `batches`, or the first of each tuple; errors as `calibrate`."""
    number = 0
    for number, batch in enumerate(batches, start=1):
        x = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if not isinstance(x, Tensor) or not x.is_floating_point() or not x.numel():
            said = type(x).__name__
            if isinstance(x, Tensor):
                said = f"{x.dtype} of shape {tuple(x.shape)}"
            raise ValueError(
                f"calibration batch {number} is {said}: a float tensor of at least one "
                "example is needed, or a tuple that begins with one"
            )
        if not bool(torch.isfinite(x).all()):
            raise ValueError(
                f"calibration batch {number} holds NaN or infinity: leave those "
                "examples out"
            )
        yield x
    if not number:
        raise ValueError("there are no calibration batches: give at least one example")


def _calibrator(observer: str, bits: int, options: Mapping[str, Any]) -> Calibrator:
    kind = OBSERVERS[observer]
    told = {"bits": bits, "stride": STRIDE} if observer in SEARCHED else {}
    try:
        return kind(**told | dict(options))
    except TypeError as error:
        raise ValueError(
            f"options {sorted(options)} are not those of observer {observer!r}: {error}"
        ) from error

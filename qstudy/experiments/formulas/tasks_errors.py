"""The tasks of the formulas chapter on ranges, errors and published vectors.

conventions, errors, calibrator_cost and conformance: see qstudy.experiments.formulas.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qstudy.experiments import timing
from qstudy.experiments.formulas.grid import CALIBRATORS
from qstudy.experiments.formulas.tasks_integer import isa, short
from qstudy.spec import Context, RunSpec, Value, Values


def conventions_task(spec: RunSpec, ctx: Context) -> Values:
    """The range -1.5 to 3 at 8 bits, and the deck's example, 0.1 in a range of 1."""
    import torch

    from qstudy.numerics import mapping, qparams

    values = {}
    signed, unsigned = (mapping.code_range(8, signed=s) for s in (True, False))
    low, high, x = -1.5, 3.0, torch.tensor([0.1], dtype=torch.float64)
    for convention in qparams.CONVENTIONS:
        codes = unsigned if convention == "unsigned" else signed
        found = qparams.choose_qparams(
            low, high, codes=codes, scheme="scale", convention=convention
        )
        values |= _told(f"scale/{convention}", found, mapping.quantize(x, found))
    for name, codes in (("uint8", unsigned), ("int8", signed)):
        found = qparams.choose_qparams(low, high, codes=codes)
        values |= _told(f"affine/{name}", found, mapping.quantize(x, found))
    for scheme in qparams.SCHEMES:
        wu = qparams.wu_parameters(low, high, bits=8, scheme=scheme)
        code = round(0.1 * wu.s + wu.z)
        values[f"{scheme}/wu/scale"] = Value(wu.s, "1/unit", "exact")
        values[f"{scheme}/wu/zero_point"] = Value(wu.z, "code", "exact")
        values[f"{scheme}/wu/code"] = Value(code, "code", "exact")
    deck = qparams.choose_qparams(-1.0, 1.0, codes=signed, scheme="scale")
    values |= _told("deck/max_code", deck, mapping.quantize(x, deck))
    return Values(values | _ties())


def _ties() -> dict[str, Value]:
    """Where torch adds an odd zero point, before or after rounding a tie.

    Three calls are given 64 ties each, and the addition also 63, which do not fill
    vector registers evenly.
    """
    import warnings

    import torch

    from qstudy.methods import legacy

    def quantized(codes: torch.Tensor, scale: float, zero: int) -> torch.Tensor:
        return torch._make_per_tensor_quantized_tensor(
            codes.to(torch.uint8), scale, zero
        )

    def added(length: int) -> torch.Tensor:
        # Halves of odd codes plus an exact zero: ties at a scale of 1.
        halves = quantized(2 * (torch.arange(length) % 16) + 1, 0.5, 0)
        nothing = quantized(torch.zeros(length), 0.5, 0)
        return torch.ops.quantized.add(halves, nothing, 1.0, 5).int_repr()

    values = {}
    ties = torch.arange(64) % 16 + 0.5
    with legacy.engine("fbgemm"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the quantized dtypes are deprecated
        calls = {
            "quantize_per_tensor": torch.quantize_per_tensor(
                ties, 1.0, 5, torch.quint8
            ).int_repr(),
            "fake_quantize": torch.fake_quantize_per_tensor_affine(ties, 1.0, 5, 0, 255)
            + 5,
            "add of 64 values": added(64),
            "add of 63 values": added(63),
        }
    for name, codes in calls.items():
        x = ties[: len(codes)]
        rules = {"after": torch.round(x) + 5, "before": torch.round(x + 5)}
        for rule, expected in rules.items():
            share = int((codes == expected).sum())
            values[f"ties/{name}/{rule}"] = isa(share, "count", len(codes))
    return values


def _told(key: str, found: Any, codes: Any) -> dict[str, Value]:
    return {
        f"{key}/scale": Value(found.scale.item(), "unit", "exact"),
        f"{key}/zero_point": Value(int(found.zero_point), "code", "exact"),
        f"{key}/code": Value(int(codes[0]), "code", "exact"),
    }


def _calibrator(name: str, *, bins: int = 2048, stride: int = 4) -> Any:
    from qstudy.numerics import calibration

    return {
        "max": lambda: calibration.MaxCalibrator(),
        "moving_average": lambda: calibration.MovingAverageCalibrator(),
        "percentile": lambda: calibration.PercentileCalibrator(bins=bins),
        "entropy": lambda: calibration.EntropyCalibrator(bins=bins, stride=stride),
        "mse": lambda: calibration.MSECalibrator(bins=bins, stride=stride),
    }[name]()


def _calibrated(x: Any, name: str, granularity: str) -> list:
    """One calibrator a row of x (C, N), or one for all of it, fed and ready to ask."""
    whole = granularity == "per_tensor"
    found = []
    for row in [x] if whole else x:
        # A channel has few values, and gets few bins and few trials.
        bins, stride = (2048, 4) if whole else (512, 8)
        calibrator = _calibrator(name, bins=bins, stride=stride)
        # The order matters to the moving average alone, which sees 16 batches of all
        # channels, as it would of images.
        for part in row.chunk(16 if name == "moving_average" else 1, dim=-1):
            calibrator.update(part)
        found.append(calibrator)
    return found


def errors_task(spec: RunSpec, ctx: Context) -> Values:
    """What is lost, in five measures, by source, bits, granularity and calibrator."""
    from qstudy.numerics import error, mapping

    measures = {
        "sqnr": (error.sqnr, "dB"),
        "mse": (error.mse, "unit^2"),
        "mae": (error.mae, "unit"),
        "kl": (error.kl_divergence, "nat"),
        "cosine": (error.cosine, "1"),
    }
    sources, values = _sources(spec, ctx), {}
    for name, x in sources.items():
        # How far the largest value lies out, in deviations: what a wide range costs.
        crest = float(x.abs().max() / x.std())
        values[f"{name}/crest"] = isa(short(crest), "1", 0.1)
    wanted = [
        (granularity, calibrator, calibrator, False)
        for granularity in ("per_tensor", "per_channel")
        for calibrator in CALIBRATORS
    ]
    # Data without negative values also by signed codes, half of which stay idle.
    idle = ("per_tensor", "max", "max_signed", True)
    with ctx.progress(len(sources) * (len(wanted) + 1), "errors") as step:
        for name, x in sources.items():
            positive = not bool((x < 0).any())
            for granularity, calibrator, label, signed in [
                *wanted,
                *([idle] if positive else []),
            ]:
                fed = _calibrated(x, calibrator, granularity)
                for bits in spec.params["bits"]:
                    found = _parameters(fed, bits, signed=signed or not positive)
                    y = mapping.fake_quantize(x, found)
                    noise = float((found.scale.double().square() / 12).mean())
                    clean = 10 * np.log10(float(x.double().square().mean()) / noise)
                    key = f"{name}/{bits}/{granularity}/{label}"
                    for measure, (function, unit) in measures.items():
                        figure = short(function(x, y))
                        values[f"{key}/{measure}"] = isa(
                            figure, unit, abs(figure) * 0.01 + 1e-9
                        )
                    values[f"{key}/theory"] = isa(short(clean), "dB", 0.2)
                step("")
    return Values(values)


def _parameters(fed: list, bits: int, *, signed: bool) -> Any:
    """QParams at `bits` bits from calibrators: symmetric if `signed`, else affine."""
    import torch

    from qstudy.numerics import mapping, qparams
    from qstudy.numerics.granularity import PerChannel, PerTensor

    ends = []
    for calibrator in fed:
        # What was counted does not depend on the bits; where to clip does.
        calibrator.bits = bits
        ends.append(calibrator.range())
    low, high = torch.tensor(ends, dtype=torch.float32).unbind(1)
    whole = len(fed) == 1
    return qparams.choose_qparams(
        low[0] if whole else low,
        high[0] if whole else high,
        codes=mapping.code_range(bits, signed=signed, narrow=signed),
        scheme="scale" if signed else "affine",
        granularity=PerTensor() if whole else PerChannel(0),
    )


def _sources(spec: RunSpec, ctx: Context) -> dict[str, Any]:
    """Name -> float32 (C, N): drawn data, weights, and activations by channel."""
    import torch

    from qstudy.methods import fusion
    from qstudy.models import zoo
    from qstudy.training.batches import normalise

    params = spec.params
    rng = np.random.default_rng(2022)
    drawn = {"gaussian": rng.normal, "laplace": rng.laplace}
    shape = (16, params["values"] // 16)
    sources = {
        name: torch.from_numpy(draw(size=shape).astype(np.float32))
        for name, draw in drawn.items()
    }
    parent = RunSpec.from_dict(params["parent"])
    model = zoo.build(params["model"])
    zoo.load_checkpoint(model, ctx.checkpoint(parent))
    network = fusion.fuse_torch(model.eval())
    images, _ = ctx.images(params["dataset"], parent.params["split"])
    kept: dict[str, Any] = {}
    hooks = [
        network.get_submodule(layer).register_forward_hook(
            lambda module, given, output, layer=layer: kept.__setitem__(layer, output)
        )
        for layer in params["layers"]
    ]
    with torch.inference_mode():
        network(normalise(images[: params["activation_images"]]))
    for hook in hooks:
        hook.remove()
    for layer in params["layers"]:
        module = network.get_submodule(layer)
        inner = module[0] if isinstance(module, torch.nn.Sequential) else module
        sources[f"weights {layer}"] = inner.weight.detach().flatten(1)
        activations = kept[layer].movedim(1, 0).flatten(1)
        sources[f"activations {layer}"] = activations.contiguous()
    return sources


def cost_task(spec: RunSpec, ctx: Context) -> Values:
    """Time one batch through each calibrator and through torch's histogram observer."""
    result = timing.measure(
        spec,
        ctx,
        factory=timed_calibrator,
        arguments={"values": spec.params["values"]},
    )
    pairs = [
        ("observer_histogram", "observer:histogram", candidate)
        for candidate in result.medians
    ]
    return Values(timing.values(result, pairs))


def timed_calibrator(*, name: str, values: int, batch: int) -> Any:
    """What a timing worker times: one batch of activations seen by candidate `name`."""
    import torch

    from qstudy.methods import legacy

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(values, generator=generator).relu()
    if name == "observer:histogram":
        with legacy.announced_removal():
            observer = legacy.eager_api().HistogramObserver()
        return lambda: observer(x)
    found = _calibrator(name.partition(":")[2])
    return lambda: found.update(x)


def conformance_task(spec: RunSpec, ctx: Context) -> Values:
    """How each installed implementation does on each published vector."""
    from qstudy.methods import conformance
    from qstudy.methods.conformance import implementations

    vectors = conformance.load()
    values = {}
    for name, implementation in implementations.installed().items():
        for vector in vectors:
            outcome = conformance.check(vector, implementation)
            values[f"{name}/{vector.id}"] = Value(outcome.result, "result", "exact")
            if outcome.result == "differs":
                values[f"{name}/{vector.id}/found"] = Value(
                    outcome.found, "text", "exact"
                )
    return Values(values)

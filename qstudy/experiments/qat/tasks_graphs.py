"""The graphs of one network's forms, read by tracing; an edge is a value."""

from __future__ import annotations

from typing import Any

from qstudy.experiments.evaluation import calibration_batches, parent_network
from qstudy.spec import Context, RunSpec, Value, Values, canonical_json


def graph(spec: RunSpec, ctx: Context) -> Values:
    """All edges of all graphs, in the order in which they run.

    The deck's five: original, dynamic, static, fake_quantized, converted, from the
    last residual block to the output. After Jacob et al. 2018, figure 1.1:
    jacob_inference and jacob_training, of that block's first layer.
    """
    params = spec.params
    model = parent_network(spec, ctx)
    images, _ = ctx.images(params["dataset"], params["split"])
    images_used = params["calibration"]["images"]
    batches = calibration_batches(images, count=images_used, draw=spec.seed)
    values = {}
    for name, traced in traced_graphs(model, batches, params).items():
        nodes = {node.name: node for node in traced.nodes}
        for number, edge in enumerate(traced.edges):
            source, target = nodes[edge.source], nodes[edge.target]
            told = canonical_json(
                [
                    *(source.name, source.kind, source.operation),
                    *(target.name, target.kind, target.operation),
                    *(edge.dtype, edge.bits, edge.grid),
                ]
            )
            values[f"{name}/{number:02}"] = Value(told, "text", "exact")
    return Values(values)


def traced_graphs(model: Any, batches: list[Any], params: dict[str, Any]) -> Any:
    """A qstudy.methods.graphs.Graph by name, of the study's own forms of `model`."""
    from qstudy.methods import graphs, simulate, static
    from qstudy.methods.convert import convert
    from qstudy.methods.dynamic import DynamicConfig, quantize_dynamic
    from qstudy.models.resnet import BasicBlock

    engine, x = params["engine"], batches[0][:2]
    paths = [p for p, m in model.named_modules() if isinstance(m, BasicBlock)]
    before, last = paths[-2:]
    observer = params["calibration"]["observer"]

    def simulated(**changed: Any) -> Any:
        config = simulate.SimulateConfig(**{**params["simulate"], **changed})
        made = simulate.simulate(model, config)
        simulate.calibrate(made, batches, observer=observer)
        return made

    fixed = static.quantize_static(
        model, batches, static.StaticConfig(engine=engine, observer=observer)
    )
    trained = simulated()
    forms = {
        "original": model,
        "dynamic": quantize_dynamic(model, DynamicConfig(engine=engine)),
        "static": fixed,
        "converted": convert(trained.eval(), engine=engine),
        "fake_quantized": trained.train(),
    }
    found = {name: graphs.trace(form, x) for name, form in forms.items()}
    found = {n: g.part(after=g.last_of(before)) for n, g in found.items()}
    whole = graphs.trace(simulated(bn_strategy="fold_first").train(), x)
    found["jacob_training"] = whole.part(
        after=whole.last_of(f"{simulate.QUANTIZERS}.{before}"),
        until=whole.last_of(f"{simulate.QUANTIZERS}.{last}.conv1"),
    )
    found["jacob_inference"] = graphs.trace(*_integer_layer(fixed, x))
    return found


def _integer_layer(fixed: Any, x: Any) -> tuple[Any, Any]:
    """The first layer of the last block on integers alone, and codes that reach it."""
    import torch

    from qstudy.methods import integer
    from qstudy.methods.integer.arithmetic import FixedPoint
    from qstudy.methods.integer.narrow import NarrowLayer

    network = integer.read_integers(fixed)
    seen: list[Any] = []
    integer.predict_codes(
        network,
        integer.input_codes(network, x),
        FixedPoint.of(network.layers),
        observe=seen.append,
    )
    # Seen are the codes after the stem and after each block.
    codes = seen[len(network.blocks) - 1].to(torch.uint8)
    return NarrowLayer(network.blocks[-1].conv1), codes

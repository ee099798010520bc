"""Sweeps over layers: how much each one costs, and which to keep in fp32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qstudy.experiments.evaluation import parent_network
from qstudy.experiments.static.grid_sweeps import ORDERS
from qstudy.experiments.static.tasks_sweeps import Scores, calibration
from qstudy.spec import Context, RunSpec, Value, Values


def sensitivity(spec: RunSpec, ctx: Context) -> Values:
    """`loss.out.L`: all but layer L quantized; `loss.in.L`: L alone; `noise.L`: of it.

    The noise is the SQNR of the logits with L alone quantized, on calibration images,
    which needs no labels.
    """
    probe = Probe(spec, ctx)
    probe.add("fp32", tuple(probe.layers))
    probe.add("all", ())
    with ctx.progress(len(probe.layers), "sensitivity") as step:
        for name in probe.layers:
            probe.add(f"out.{name}", (name,))
            probe.add(f"in.{name}", probe.others(name))
            noise = Value(probe.noise(name), "dB", "isa", tolerance=0.5)
            probe.scores.values[f"noise.{name}"] = noise
            step(name)
    names = Value(" ".join(probe.layers), "text", "exact")
    return probe.scores.outcome(layers=names)


def partial(spec: RunSpec, ctx: Context) -> Values:
    """Rank on the first images, then score ever more kept layers on the others.

    `order.RANKING` are the layers in the order in which they go back to fp32.
    """
    params = spec.params
    probe = Probe(spec, ctx)
    loss = {n: probe.loss((n,)) for n in probe.layers}
    noise = {n: probe.noise(n) for n in probe.layers}
    orders = {
        "leave_one_out": sorted(loss, key=loss.get)[: params["layers"]],
        "noise": sorted(noise, key=noise.get)[: params["layers"]],
        "greedy": [],
    }
    kept = orders["greedy"]
    for _ in range(params["greedy"]):
        left = [n for n in probe.layers if n not in kept]
        first = not kept
        kept.append(
            min(left, key=lambda n: loss[n] if first else probe.loss((*kept, n)))
        )
    skip = params["scored_images"]
    probe.scores = Scores(_without(spec, "scored_images"), ctx, skip=skip)
    probe.add("fp32", tuple(probe.layers))
    probe.add("0", ())
    for ranking in ORDERS:
        order = orders[ranking]
        for count in range(1, len(order) + 1):
            probe.add(f"{ranking}-{count}", tuple(order[:count]))
    told = {
        f"order.{ranking}": Value(" ".join(order), "text", "exact")
        for ranking, order in orders.items()
    }
    return probe.scores.outcome(**told)


def _without(spec: RunSpec, name: str) -> RunSpec:
    params = {k: v for k, v in spec.params.items() if k != name}
    return RunSpec(
        experiment=spec.experiment, version=spec.version, params=params, seed=spec.seed
    )


class Probe:
    """A calibrated network whose layers are put back to fp32 at will."""

    def __init__(self, spec: RunSpec, ctx: Context) -> None:
        import torch

        from qstudy.methods import simulate

        bits = spec.params["bits"]
        self.model = parent_network(spec, ctx)
        self.scores = Scores(spec, ctx)
        how = simulate.SimulateConfig(
            weight_bits=bits, activation_bits=bits, first_last_bits=bits
        )
        self.simulated = simulate.simulate(self.model, how).eval()
        batches = calibration(spec, ctx)
        simulate.calibrate(self.simulated, batches)
        self.layers = list(simulate.layers(self.simulated))
        self.shown = torch.cat(batches)[: spec.params["noise_images"]]
        with torch.inference_mode():
            self.wanted = self.model(self.shown)

    def others(self, name: str) -> tuple[str, ...]:
        return tuple(other for other in self.layers if other != name)

    def network(self, kept: tuple[str, ...]) -> Callable:
        from qstudy.methods import simulate

        simulate.keep_float(self.simulated, kept)
        return simulate.fixed(self.simulated)

    def add(self, name: str, kept: tuple[str, ...]) -> None:
        """Score the network with `kept` in fp32, or the fp32 network itself."""
        network = self.model if name == "fp32" else self.network(kept)
        logits = self.scores.add(name, network)
        loss = Value(self._loss(logits), "nat", "isa", tolerance=0.05)
        self.scores.values[f"loss.{name}"] = loss

    def loss(self, kept: tuple[str, ...]) -> float:
        """The mean cross-entropy, in nat, with `kept` in fp32."""
        from qstudy.training.loop import predict

        return self._loss(predict(self.network(kept), self.scores.images))

    def _loss(self, logits: Any) -> float:
        import torch

        labels = torch.from_numpy(self.scores.labels.astype("int64"))
        return torch.nn.functional.cross_entropy(logits.double(), labels).item()

    def noise(self, name: str) -> float:
        """The SQNR of the logits in dB where layer `name` alone is quantized."""
        import torch

        from qstudy.numerics.error import sqnr

        with torch.inference_mode():
            return sqnr(self.wanted, self.network(self.others(name))(self.shown))

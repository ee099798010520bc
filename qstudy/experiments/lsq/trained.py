"""The networks that the LSQ chapter keeps, packed, as others load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qstudy.spec import RunRecord, RunSpec, Trained


def network_of(spec: RunSpec, path: Path) -> Any:
    """The simulated network of a training run's checkpoint, in eval mode.

    `spec` is one of this chapter's, whose files are packed, or of the QAT chapter's.
    """
    from qstudy.methods import packed, simulate
    from qstudy.models import zoo

    network, told = zoo.build(spec.params["model"]), spec.params["simulate"]
    if spec.params["method"] == "lsq":
        made = simulate.simulate(network, simulate.LsqConfig(**told))
        packed.fill(made, zoo.read_checkpoint(path), path)
    else:
        made = simulate.simulate(network, simulate.SimulateConfig(**told))
        zoo.load_checkpoint(made, path)
    return made.eval()


def _load(record: RunRecord, path: Path) -> Any:
    return network_of(record.spec, path)


TRAINED = Trained(
    limits=(
        "Made to be compared, not to be used: photographs of 32 by 32 pixels in ten "
        "classes. The file holds the codes of the weights and not what they were "
        "rounded from, so that it cannot be trained further as it was. The network "
        "computes in float32 what its codes and steps say."
    ),
    load=_load,
)

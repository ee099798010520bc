"""The networks that the QAT chapter keeps, as others load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qstudy.spec import RunRecord, Trained


def _load(record: RunRecord, path: Path) -> Any:
    """The simulated network, or the fine-tuned one where nothing was rounded."""
    from qstudy.methods import simulate
    from qstudy.models import zoo

    params = record.spec.params
    network = zoo.build(params["model"])
    if params["method"] == "qat":
        config = simulate.SimulateConfig(**params["simulate"])
        network = simulate.simulate(network, config)
    zoo.load_checkpoint(network, path)
    return network.eval()


TRAINED = Trained(
    limits=(
        "Made to be compared, not to be used: photographs of 32 by 32 pixels in ten "
        "classes. A network with rounding computes in float32 what its integers would; "
        "qstudy.methods.convert makes an engine's int8 network of one at 8 bits."
    ),
    load=_load,
)

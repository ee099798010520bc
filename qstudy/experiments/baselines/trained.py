"""The networks that the baselines keep, as others load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qstudy.spec import RunRecord, Trained


def _load(record: RunRecord, path: Path) -> Any:
    from qstudy.models import zoo

    network = zoo.build(record.spec.params["model"])
    zoo.load_checkpoint(network, path)
    return network.eval()


TRAINED = Trained(
    limits=(
        "Made to be quantized and compared, not to be used: photographs of 32 by 32 "
        "pixels in ten classes, one recipe, one run. The interval is over images "
        "and says nothing about another seed."
    ),
    load=_load,
)

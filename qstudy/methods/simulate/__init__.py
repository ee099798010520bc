"""A network that computes in floats what its integer form will: placement, ranges."""

from qstudy.methods.simulate.learned import LsqConfig
from qstudy.methods.simulate.network import (
    QUANTIZERS,
    SimulateConfig,
    config_of,
    simulate,
)
from qstudy.methods.simulate.ranges import (
    OBSERVERS,
    calibrate,
    in_float,
    layers,
    quantizers,
    set_weight_ranges,
)

__all__ = [
    "OBSERVERS",
    "QUANTIZERS",
    "LsqConfig",
    "SimulateConfig",
    "calibrate",
    "config_of",
    "in_float",
    "layers",
    "quantizers",
    "set_weight_ranges",
    "simulate",
]

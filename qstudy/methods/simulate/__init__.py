"""A network that computes in floats what its integer form will: placement, ranges."""

from qstudy.methods.simulate.fixed import fixed, folded_layers
from qstudy.methods.simulate.kept import keep_float, kept_layers
from qstudy.methods.simulate.learned import LsqConfig
from qstudy.methods.simulate.network import (
    QUANTIZERS,
    SimulateConfig,
    config_of,
    simulate,
)
from qstudy.methods.simulate.ranges import (
    OBSERVERS,
    SEARCHED,
    calibrate,
    in_float,
    layers,
    quantizers,
    set_weight_ranges,
)

__all__ = [
    "OBSERVERS",
    "QUANTIZERS",
    "SEARCHED",
    "LsqConfig",
    "SimulateConfig",
    "calibrate",
    "config_of",
    "fixed",
    "folded_layers",
    "in_float",
    "keep_float",
    "kept_layers",
    "layers",
    "quantizers",
    "set_weight_ranges",
    "simulate",
]

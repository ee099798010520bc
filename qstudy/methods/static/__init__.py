"""Static post-training quantization: ranges fixed on calibration data, no training.

`quantize` takes any network of the operations that engines have, and is what a user
needs; the cures for fewer bits change a network before it, or its simulated form after.
`quantize_static` is torch's eager API on this study's ResNets.
"""

from qstudy.methods.static.adaround import AdaRoundConfig, adaround
from qstudy.methods.static.bias_correction import correct_biases
from qstudy.methods.static.eager import (
    ACTIVATION_BITS,
    OBSERVERS,
    WEIGHT_BITS,
    AddReLU,
    QuantizedResNet,
    QuantizedShare,
    StaticConfig,
    prepare,
    qconfig,
    quantize_static,
    quantized_share,
)
from qstudy.methods.static.equalize import equalize, without_clamps
from qstudy.methods.static.files import load, save
from qstudy.methods.static.quantize import (
    QuantizationWarning,
    QuantizeConfig,
    StaticNetwork,
    quantize,
)

__all__ = [
    "ACTIVATION_BITS",
    "OBSERVERS",
    "WEIGHT_BITS",
    "AdaRoundConfig",
    "AddReLU",
    "QuantizationWarning",
    "QuantizeConfig",
    "QuantizedResNet",
    "QuantizedShare",
    "StaticConfig",
    "StaticNetwork",
    "adaround",
    "correct_biases",
    "equalize",
    "load",
    "prepare",
    "qconfig",
    "quantize",
    "quantize_static",
    "quantized_share",
    "save",
    "without_clamps",
]

"""The explorer's real weights: some layers of the published ResNet-20, for a browser.

The page's script (chapters/_static/explorer.js) computes. When the book is built, this
module writes `window.QSTUDY_WEIGHTS` with the float32 bytes of the layers, as a script,
so that a page opened from a disk has them too. Reads the checkpoint without torch.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from safetensors.numpy import load_file

CHECKPOINT = "resnet20-cifar10-fp32-published-s0.safetensors"
# First, middle and late convolutions, and the last layer: name in the checkpoint.
LAYERS = ("conv1", "stage1.1.conv1", "stage2.1.conv1", "stage3.2.conv2", "fc")


def weights_script(checkpoint: Path) -> str:
    """JavaScript that sets `window.QSTUDY_WEIGHTS`.

    {checkpoint, layers: [{name, shape, data}]}; data is base64 of the little-endian
    float32 values, channels first. Raises FileNotFoundError in one line.
    """
    if not checkpoint.exists():
        raise FileNotFoundError(
            f"checkpoint {checkpoint} is missing, and the explorer shows its weights: "
            "restore it with git"
        )
    tensors = load_file(checkpoint)
    layers = []
    for name in LAYERS:
        values = tensors[f"{name}.weight"].astype("<f4")
        layers.append(
            {
                "name": name,
                "shape": list(values.shape),
                "data": base64.b64encode(values.tobytes()).decode("ascii"),
            }
        )
    told = {"checkpoint": checkpoint.name, "layers": layers}
    return f"window.QSTUDY_WEIGHTS = {json.dumps(told)};\n"


def find_checkpoint(*trees: Path) -> Path:
    """The checkpoint in the first of `trees` that has it, else where it should be."""
    places = [tree / "checkpoints" / CHECKPOINT for tree in trees]
    return next((place for place in places if place.exists()), places[-1])

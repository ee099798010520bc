"""Networks for photographs, by name: those that torchvision also offers quantized.

Their trained weights cannot be had everywhere, and times do not depend on them: `build`
draws weights from a seed and gives batch normalization statistics of its own, for with
its initial ones folding would do nothing. Uses qstudy.data for the guarded import of
torchvision.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# Name -> side of its image, and what keeps its construction quick and its output one.
_NETWORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet18": (224, {}),
    "resnet50": (224, {}),
    "resnext101_32x8d": (224, {}),
    "mobilenet_v2": (224, {}),
    "googlenet": (224, {"aux_logits": False, "init_weights": False}),
    "inception_v3": (299, {"aux_logits": False, "init_weights": False}),
    "shufflenet_v2_x1_0": (224, {}),
}
NAMES = tuple(_NETWORKS)
CLASSES = 1000


def input_shape(name: str) -> tuple[int, int, int]:
    """(channels, height, width) of one image; ValueError for an unknown name."""
    side, _ = _network(name)
    return 3, side, side


def build(name: str, *, seed: int = 0) -> nn.Module:
    """The network `name` in eval mode, float32, 1000 classes, weights from `seed`.

    Statistics of batch normalization are those of noise run through it twice. The
    global random state is left as it was. ValueError for an unknown name.
    """
    from qstudy.data.torchvision_guard import import_torchvision

    side, options = _network(name)
    models = import_torchvision().models
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = models.get_model(name, weights=None, num_classes=CLASSES, **options)
        for _ in range(2):
            model(torch.randn(4, 3, side, side))
    return model.eval()


def _network(name: str) -> tuple[int, dict[str, Any]]:
    if name not in _NETWORKS:
        raise ValueError(f"model {name!r} is not one of {NAMES}")
    return _NETWORKS[name]

"""Every network of the study by name: random weights from a seed, or a checkpoint.

The networks for 32x32 images are this repository's own, and so is EfficientNet-Lite0
for photographs; resnet18 and mobilenet_v2 are torchvision's, imported only when asked
for, through the guard in qstudy.data.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from qstudy.models.efficientnet_lite import efficientnet_lite0
from qstudy.models.mobilenet import mobilenetv2_32
from qstudy.models.resnet import DEPTHS, resnet

_CIFAR = {f"resnet{depth}": partial(resnet, depth) for depth in DEPTHS}
_CIFAR["mobilenetv2_32"] = mobilenetv2_32
_TORCHVISION = ("resnet18", "mobilenet_v2")
NAMES = (*_CIFAR, "efficientnet_lite0", *_TORCHVISION)


def build(name: str, *, seed: int = 0, classes: int | None = None) -> nn.Module:
    """The network `name` in training mode, float32, its weights drawn from `seed`.

    `classes` defaults to 10 for those of 32x32 images and to ImageNet's 1000 for the
    others. The global random state is left as it was. Raises ValueError
    for a name that is not in NAMES or fewer than 1 class.
    """
    _check(name)
    if classes is not None and classes < 1:
        raise ValueError(f"classes {classes} is below 1, the smallest number of logits")
    if name in _CIFAR:
        return _CIFAR[name](classes=classes or 10, seed=seed)
    if name == "efficientnet_lite0":
        return efficientnet_lite0(classes=classes or 1000, seed=seed)
    # Here, so that the CIFAR networks need no torchvision.
    from qstudy.data.torchvision_guard import import_torchvision

    models = import_torchvision().models
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.get_model(name, weights=None, num_classes=classes or 1000)


def input_shape(name: str) -> tuple[int, int, int]:
    """(channels, height, width) of one image; ValueError for an unknown name."""
    _check(name)
    if name == "efficientnet_lite0":
        return (3, 225, 225)  # where its padding is the same on both sides
    return (3, 32, 32) if name in _CIFAR else (3, 224, 224)


def load_checkpoint(model: nn.Module, path: Path | str) -> None:
    """Copy the tensors of a safetensors file into `model`, all of them or none.

    Keys, shapes and dtypes must be the model's own: load_state_dict alone would cast
    integer codes to floats without a word. Raises ValueError, one line that names the
    file, where it is damaged or does not fit, and FileNotFoundError where it is absent.
    """
    fill(model, read_checkpoint(path), path)


def read_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a safetensors file; errors as `load_checkpoint`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {path} does not exist: train it, or copy it to that place"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"checkpoint {path} is damaged ({error}): restore it or train it again"
        ) from error


def fill(model: nn.Module, found: dict[str, Tensor], path: Path | str) -> None:
    """Copy the tensors `found` (of the file `path`) into `model`, all or none."""
    faults = _faults(found, model.state_dict())
    faults += [
        f"has {name} with NaN or infinity"
        for name, tensor in found.items()
        if tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    if faults:
        raise ValueError(
            f"checkpoint {path} does not fit {type(model).__name__}: it "
            f"{'; '.join(faults[:3])}; build the network that it was saved from"
        )
    model.load_state_dict(found)


def _faults(found: dict[str, Tensor], expected: dict[str, Tensor]) -> list[str]:
    """What is wrong with the tensors of a file, each fault a few words."""
    faults = []
    if missing := expected.keys() - found.keys():
        faults.append(f"misses {_some(missing)}")
    if extra := found.keys() - expected.keys():
        faults.append(f"has extra {_some(extra)}")
    for name in sorted(expected.keys() & found.keys()):
        got, needed = _kind(found[name]), _kind(expected[name])
        if got != needed:
            faults.append(f"has {name} as {got} where {needed} is needed")
    return faults


def _some(keys: set[str]) -> str:
    shown = ", ".join(sorted(keys)[:3])
    return f"{shown} and {len(keys) - 3} more" if len(keys) > 3 else shown


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _check(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"model {name!r} is not one of {NAMES}")

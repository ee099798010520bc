"""A network handed to fresh processes, which time it: by name, or by its own weights.

Where the network comes from a function that can be imported, a process calls it again
and reads the weights from a safetensors file. A network that exists only as an object
is written by torch.save and read with weights_only=True: nothing but the classes named
beforehand, all of them importable modules, can be made from the file.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from qstudy.data.torchvision_guard import import_torchvision


def from_function(place: str) -> nn.Module:
    """The network that `place` ("module:function") gives, in eval mode, as float32.

    Modules of the working directory are found too. ValueError for another form, a
    module or function that is not there, one that fails, or what is no nn.Module.
    """
    module, _, name = place.partition(":")
    if not module or not name:
        raise ValueError(f"model {place!r} is not of the form 'module:function'")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"model {place!r} cannot be found ({error}): name a function of a module "
            "that lies in this folder or is installed"
        ) from error
    try:
        made = function()
    except Exception as error:  # it is the reader's own, and its fault is told
        raise ValueError(
            f"model {place!r} failed with {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(
            f"model {place!r} gives a {type(made).__name__}: a torch.nn.Module is "
            "needed"
        )
    return made.eval()


def hand_over(model: nn.Module, folder: Path, *, place: str = "") -> dict[str, Any]:
    """Write `model` into `folder`; what is returned is JSON, and `take_over` reads it.

    `place` is the function it came from, if there is one. ValueError, naming the class,
    where a network without one is made of classes that no other process can import.
    """
    if place:
        path = folder / "weights.safetensors"
        state = {k: t.detach().clone().contiguous() for k, t in _state(model).items()}
        save_file(state, path)
        return {"place": place, "weights": str(path)}
    path = folder / "network.pt"
    classes = _classes(model)
    torch.save(model, path)
    told = {"network": str(path), "classes": classes}
    try:
        take_over(told)
    except Exception as error:  # whatever it holds that is no module of those
        raise ValueError(
            f"network {type(model).__name__} holds what cannot be handed to another "
            f"process ({str(error).splitlines()[0]}): give 'module:function' instead"
        ) from error
    return told


def take_over(told: Mapping[str, Any]) -> nn.Module:
    """The network that `hand_over` wrote, in eval mode."""
    if "place" in told:
        model = from_function(told["place"])
        model.load_state_dict(load_file(told["weights"]), strict=True)
        return model
    allowed = [_imported(name) for name in told["classes"]]
    with torch.serialization.safe_globals(allowed):
        return torch.load(told["network"], weights_only=True).eval()


def _state(model: nn.Module) -> Mapping[str, torch.Tensor]:
    return {k: v for k, v in model.state_dict().items() if torch.is_tensor(v)}


def _classes(model: nn.Module) -> list[str]:
    kinds = {type(module) for module in model.modules()}
    for kind in kinds:
        if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
            raise ValueError(
                f"class {kind.__qualname__} of {kind.__module__} cannot be imported by "
                "another process: put it into a file and give 'module:function'"
            )
    # What modules commonly hold beside tensors.
    held = {set, torch.nn.parameter.Parameter}
    return sorted(f"{kind.__module__}:{kind.__qualname__}" for kind in kinds | held)


def _imported(name: str) -> Any:
    module, _, path = name.partition(":")
    if module.startswith("torchvision"):
        import_torchvision()
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found

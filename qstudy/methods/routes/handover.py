"""A network handed to fresh processes, which time it: by name, or as data.

Where the network comes from a function that can be imported, a process calls it again
and reads the weights from a safetensors file. A network that exists only as an object
is written as data (as_data): names of classes, plain values, tensors. Nothing is
unpickled either way.
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
from torch import Tensor, nn

from qstudy.data.torchvision_guard import guarded
from qstudy.methods import plain
from qstudy.methods.routes import as_data

# Of two answers to the same input, relative to the larger one.
ALIKE = 1e-3


def from_function(place: str) -> nn.Module:
    """The network that `place` ("module:function") gives, in eval mode, as float32.

    Modules of the working directory are found too; a torchvision whose library does not
    load is mended for them. ValueError for another form, a module or function that is
    not there, one that fails, or what is no nn.Module.
    """
    module, _, name = place.partition(":")
    if not module or not name:
        raise ValueError(f"model {place!r} is not of the form 'module:function'")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with guarded():
        try:
            function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"model {place!r} cannot be found ({error}): name a function of a "
                "module that lies in this folder or is installed"
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

    `place` is the function it came from, if there is one. ValueError, naming the class
    or the attribute, where a network without one holds what is no data.
    """
    # Other processes look for classes and functions where this one does.
    told: dict[str, Any] = {"path": [p for p in sys.path if p]}
    if place:
        path = folder / "weights.safetensors"
        state = {k: t.detach().clone().contiguous() for k, t in _state(model).items()}
        save_file(state, path)
        return {**told, "place": place, "weights": str(path)}
    try:
        as_data.write(model, folder)
    except Exception as error:  # modules may do what they like when asked what they are
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"network {type(model).__name__} cannot be handed to another process "
            f"({first}): give 'module:function' instead"
        ) from error
    return {**told, "data": str(folder)}


def take_over(told: Mapping[str, Any]) -> nn.Module:
    """The network that `hand_over` wrote, in eval mode."""
    sys.path += [path for path in told["path"] if path not in sys.path]
    if "data" in told:
        return as_data.read(Path(told["data"])).eval()
    model = from_function(told["place"])
    model.load_state_dict(load_file(told["weights"]), strict=True)
    return model


def check_alike(model: nn.Module, taken: nn.Module, x: Tensor) -> None:
    """ValueError unless `taken` answers to `x` as `model` does.

    A network that does not take `x`, or gives no tensor, is not judged here.
    """
    with torch.inference_mode():
        try:
            answer = plain.copied(model)(x)
        except (RuntimeError, ValueError, TypeError, IndexError):
            return
        again = taken(x)
    if (
        isinstance(answer, Tensor)
        and answer.numel()
        and not torch.allclose(
            answer,
            again,
            rtol=ALIKE,
            atol=ALIKE * float(answer.nan_to_num().abs().max()),
            equal_nan=True,
        )
    ):
        raise ValueError(
            f"network {type(model).__name__} answers otherwise in another process: it "
            "draws at random, or keeps what is no data; give 'module:function' instead"
        )


def _state(model: nn.Module) -> Mapping[str, torch.Tensor]:
    return {k: v for k, v in model.state_dict().items() if torch.is_tensor(v)}

"""A network as data: JSON of what its modules hold, and safetensors of their tensors.

What pickle would do, without a file that can run code: reading makes modules of classes
that it finds by name, gives them plain values and tensors, and calls nothing else than
a module's own `__setstate__`. A network that holds more than that is refused.

A value is itself where it is None, a bool, a whole number, a text or a finite float,
and otherwise {kind: content}: "list", "tuple", "set", "size" and "dict" of values,
"name" of what can be imported ("torch.nn.functional:relu"), "tensor", "parameter" and
"module" by number, so that what is shared stays shared.
"""

from __future__ import annotations

import enum
import importlib
import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qstudy.data.torchvision_guard import guarded

NETWORK, TENSORS = "network.json", "network.safetensors"
_SEQUENCES = {list: "list", tuple: "tuple", set: "set", torch.Size: "size"}
_MAPPINGS = {dict: "dict", OrderedDict: "ordered"}
_KINDS = {kind: made for made, kind in (_SEQUENCES | _MAPPINGS).items()}
_BY_THEIR_OWN_NAME = (torch.dtype, torch.memory_format, torch.layout)
_Json = Any


def write(model: nn.Module, folder: Path) -> None:
    """Write `model` as NETWORK and TENSORS into `folder`.

    ValueError, in one line, names the class that another process cannot import, or the
    attribute that is no plain value.
    """
    writer = _Writer()
    writer.module(model, type(model).__name__)
    text = json.dumps({"modules": writer.modules, "tensors": writer.layouts})
    (folder / NETWORK).write_text(text, encoding="utf-8")
    save_file(writer.tensors, folder / TENSORS)


def read(folder: Path) -> nn.Module:
    """The network that `write` wrote there. ValueError for what is no nn.Module."""
    told = json.loads((folder / NETWORK).read_text(encoding="utf-8"))
    stored = load_file(folder / TENSORS)
    # Copied, for kernels add up in another order where memory is not aligned, as it
    # is not inside the file.
    tensors = {
        name: stored[name].clone(memory_format=getattr(torch, layout))
        for name, layout in told["tensors"].items()
    }
    modules = [_new(entry["class"]) for entry in told["modules"]]
    reader = _Reader(modules, tensors)
    for module, entry in zip(modules, told["modules"], strict=True):
        module.__setstate__(reader.value(entry["state"]))
    return modules[0]


class _Writer:
    """Numbers modules and tensors as it meets them."""

    def __init__(self) -> None:
        self.modules: list[dict[str, _Json]] = []
        self.tensors: dict[str, Tensor] = {}
        self.layouts: dict[str, str] = {}
        self.known: dict[int, int | str] = {}
        self.kept: list[object] = []  # so that no id is given twice

    def module(self, module: nn.Module, path: str) -> int:
        """The number of a module, written if it is new."""
        if id(module) not in self.known:
            self.known[id(module)] = len(self.modules)
            entry: dict[str, _Json] = {"class": _class_name(type(module))}
            self.modules.append(entry)
            state = module.__getstate__()
            self.kept += [module, state]
            entry["state"] = self.value(state, path)
        return self.known[id(module)]

    def value(self, value: object, path: str) -> _Json:
        """One value as JSON; `path` says where it stands."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind in _SEQUENCES:
            content = [self.value(v, f"{path}[{i}]") for i, v in enumerate(value)]
            return {_SEQUENCES[kind]: content}
        if kind in _MAPPINGS:
            content = [
                [self.value(k, path), self.value(v, f"{path}.{k}")]
                for k, v in value.items()
            ]
            return {_MAPPINGS[kind]: content}
        if isinstance(value, nn.Module):
            return {"module": self.module(value, path)}
        if kind is Tensor:
            return {"tensor": self.tensor(value, path)}
        if kind is nn.Parameter:
            return {"parameter": self.tensor(value, path)}
        if kind is torch.device:
            return {"device": str(value)}
        if name := _name(value):
            return {"name": name}
        place = path.replace("._modules", "")
        raise ValueError(f"{place} is of class {kind.__name__}")

    def tensor(self, tensor: Tensor, path: str) -> str:
        """The name of a tensor in the file, written if it is new."""
        if id(tensor) not in self.known:
            if tensor.layout is not torch.strided or tensor.is_quantized:
                raise ValueError(f"{path} is a quantized or a sparse tensor")
            name = f"{len(self.tensors)}"
            self.known[id(tensor)] = name
            self.kept.append(tensor)
            self.tensors[name] = tensor.detach().clone(
                memory_format=torch.contiguous_format
            )
            self.layouts[name] = _layout(tensor)
        return self.known[id(tensor)]


class _Reader:
    """Gives values back; modules are there before any is given its state."""

    def __init__(self, modules: list[nn.Module], tensors: Mapping[str, Tensor]) -> None:
        self.modules, self.tensors = modules, tensors
        self.parameters: dict[str, nn.Parameter] = {}

    def value(self, told: _Json) -> Any:
        """What `_Writer.value` was given."""
        if not isinstance(told, dict):
            return told
        ((kind, content),) = told.items()
        match kind:
            case "float":
                return float(content)
            case "list" | "tuple" | "set" | "size":
                return _KINDS[kind]([self.value(item) for item in content])
            case "dict" | "ordered":
                return _KINDS[kind](
                    (self.value(key), self.value(item)) for key, item in content
                )
            case "module":
                return self.modules[content]
            case "tensor":
                return self.tensors[content]
            case "parameter":
                return self.parameters.setdefault(
                    content, nn.Parameter(self.tensors[content], requires_grad=False)
                )
            case "device":
                return torch.device(content)
        return _found(content)


def _layout(tensor: Tensor) -> str:
    """In which order a tensor lies in memory: kernels are chosen by it."""
    for name, sides in (("channels_last", 4), ("channels_last_3d", 5)):
        last = tensor.dim() == sides and tensor.is_contiguous(
            memory_format=getattr(torch, name)
        )
        if last and not tensor.is_contiguous():
            return name
    return "contiguous_format"


def _class_name(kind: type) -> str:
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise ValueError(
            f"class {kind.__qualname__} of {kind.__module__} cannot be imported by "
            "another process: put it into a file and give 'module:function'"
        )
    name = _name(kind)
    own = kind.__reduce_ex__, kind.__reduce__
    if not name or own != (object.__reduce_ex__, object.__reduce__):
        raise ValueError(f"class {kind.__qualname__} is made anew by code of its own")
    return name


def _name(value: object) -> str:
    """Under which name `value` can be imported; "" where it cannot."""
    kind = type(value)
    places = []
    if isinstance(value, enum.Enum):
        places = [f"{kind.__module__}:{kind.__qualname__}.{value.name}"]
    elif kind in _BY_THEIR_OWN_NAME:
        places = [str(value).replace("torch.", "torch:", 1)]
    elif isinstance(value, type | FunctionType | BuiltinFunctionType):
        # torch's own functions, torch.relu for one, do not say where they are.
        own, name = value.__module__, value.__name__
        places = [f"{own}:{value.__qualname__}", f"{own}:{name}", f"torch:{name}"]
    for place in places:
        try:
            if not place.startswith("__main__:") and _found(place) is value:
                return place
        except (ImportError, AttributeError, ValueError):
            continue
    return ""


def _found(name: str) -> Any:
    module, _, path = name.partition(":")
    with guarded():
        found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _new(name: str) -> nn.Module:
    kind = _found(name)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"{name} is no torch.nn.Module")
    return kind.__new__(kind)

"""The state between two epochs: weights, momentum, and how far the run has come.

One safetensors file, written whole or not at all; a ResNet-20's is 2.1 MiB, small
enough to be committed when a long run must move to another machine.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from qstudy.training.updates import Updates

STATE_FILE = "state.safetensors"


def save_state(
    folder: Path,
    *,
    model: nn.Module,
    optimizer: Optimizer | Updates,
    epochs_done: int,
    log: list[dict],
    average: nn.Module | None = None,
) -> Path:
    """Write the state after `epochs_done` epochs to `folder`, replacing the last.

    `average` is the moving average of the weights, where the recipe keeps one.
    """
    # By these names a tensor that two layers share is written once.
    tensors = {
        f"model.{k}": v for k, v in (*model.named_parameters(), *model.named_buffers())
    }
    state = optimizer.state
    for name, parameter in model.named_parameters():
        for part, value in state[parameter].items():
            if value is not None:
                tensors[f"optimizer.{part}.{name}"] = value
    if average is not None:
        tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    about = {"epochs_done": str(epochs_done), "log": json.dumps(log)}
    return write_tensors(tensors, folder / STATE_FILE, about=about)


def write_tensors(
    tensors: Mapping[str, Tensor], path: Path, *, about: Mapping[str, str] | None = None
) -> Path:
    """Write a safetensors file whole or not at all, making its folder; returns `path`.

    Raises OSError, one line with the way out, where the disk is full or read-only.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            partial,
            metadata=dict(about or {}),
        )
        with open(partial, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OSError(
            f"cannot write {path} ({error}); free space or make it writable, then run "
            "the same command again: it resumes after the last epoch saved"
        ) from error
    return path


def load_state(
    folder: Path,
    *,
    model: nn.Module,
    optimizer: Optimizer | Updates,
    average: nn.Module | None = None,
) -> tuple[int, list[dict]]:
    """Put the saved state into `model`, `optimizer` and `average`.

    Returns (epochs done, log).

    A folder without a state gives (0, []). Raises ValueError where the file is damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return 0, []
    try:
        with safe_open(path, framework="pt") as stored:
            about = stored.metadata()
            tensors: dict[str, Tensor] = {
                name: stored.get_tensor(name) for name in list(stored.keys())
            }
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged ({error}); delete it to train from the start"
        ) from error
    state = {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}
    model.load_state_dict(state, strict=False)
    parameters, memory = dict(model.named_parameters()), optimizer.state
    for key, value in tensors.items():
        sort, _, rest = key.partition(".")
        if sort != "optimizer":
            continue
        part, _, name = rest.partition(".")
        if value.shape == parameters[name].shape:
            # a clone keeps the strides: channels_last weights need such momentum
            value = parameters[name].detach().clone().copy_(value)
        memory[parameters[name]][part] = value
    if average is not None:
        average.load_state_dict(
            {k[8:]: v for k, v in tensors.items() if k.startswith("average.")}
        )
    return int(about["epochs_done"]), json.loads(about["log"])
